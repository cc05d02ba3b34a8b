"""The page of the site: prose, plots and tables, all figures from the results."""

from __future__ import annotations

from html import escape
from typing import TYPE_CHECKING

from benchmarks.survey.plan import SMALL, TITLES
from benchmarks.survey.report import figures, prose, sections, summary, tables
from benchmarks.survey.report.compare import headline, parameter_sets, rows_of
from benchmarks.survey.report.findings import in_a_sentence, said
from benchmarks.survey.report.reasons import why_missing
from benchmarks.survey.report.sections import details

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from benchmarks.survey.report.compare import Parameters
    from benchmarks.survey.results import Results

PAGE = "benchmarks.md"
IMAGES = "images/benchmarks"
# More plots of a work than the one that has its name.
MORE = {"one-in-flight": ("payload",), "fan-out": ("deliveries",)}


class Page:
    """Puts the page together.

    Args:
        results: What is shown.
        drawn: For each plot that there is, its name and what it shows in words.
    """

    def __init__(self, results: Results, drawn: Mapping[str, str]) -> None:
        self._results = results
        self._drawn = drawn

    def text(self) -> str:
        """Return the whole page."""
        results = self._results
        parts = [
            f"<!-- Written by `{prose.AGAIN}`: don't edit, run it again. -->",
            "# Benchmarks",
            *summary.first_screen(results),
            *summary.compared(results),
            *summary.conditions(results),
            prose.READING.format(rounds=summary.rounds_of(results), times=figures.TIMES),
        ]
        for work in dict.fromkeys(row.work for row in results.rows):
            parts += self._work(work)
        if "costs" in self._drawn:
            parts += ["## What an operation costs the server", prose.COSTS, self.picture("costs")]
        parts += sections.growth(results, self.picture)
        parts += sections.nodes(results)
        parts += sections.profiles(results)
        parts += sections.soak(results, self.picture)
        parts += self._not_shown()
        return "\n\n".join(part for part in parts if part) + "\n"

    def picture(self, name: str) -> str:
        """Return a plot in its two variants, of which a reader sees the one that suits."""
        if name not in self._drawn:
            return ""
        light, dark = (f"{IMAGES}/{name}-{variant}.svg" for variant in ("light", "dark"))
        # GitHub knows this form; docs/conf.py makes of it what the site's theme knows.
        return (
            "<picture>\n"
            f'<source media="(prefers-color-scheme: dark)" srcset="{dark}">\n'
            f'<img alt="{escape(self._drawn[name])}" src="{light}">\n'
            "</picture>"
        )

    def _work(self, work: str) -> list[str]:
        """Return a work's section: what is measured, plots, a sentence, tables."""
        heading = f"## {prose.HEADINGS.get(work, TITLES.get(work, work))}"
        metric = headline(self._results, work)
        if metric is None:
            failures = {row.contender: row for row in rows_of(self._results, work)}
            told = [
                f"- {why_missing(self._results, work, row.parameters, name, row)}"
                for name, row in failures.items()
            ]
            return [heading, "There are no figures.", "\n".join(told)]
        basic = self._basic(work)
        full, costs = tables.in_full(self._results, work), tables.costs(self._results, work)
        return [
            heading,
            prose.MEASURED.get(work, ""),
            self.picture(work),
            in_a_sentence(self._results, work, basic, metric),
            *map(self.picture, MORE.get(work, ())),
            f"{said(metric)}, medians:",
            tables.at_a_glance(self._results, work),
            details("All figures, with their spread", full) if full else "",
            details("What an operation costs", costs) if costs else "",
        ]

    def _basic(self, work: str) -> Parameters:
        """Return the parameters that a sentence is about: none, or the largest load."""
        found = parameter_sets(self._results, work)
        plain = [
            one for one in found if not set(one) & {"payload", "encrypted", "shards", "cluster"}
        ]
        return max(plain or found, key=lambda one: tuple(map(int, one.values())))

    def _not_shown(self) -> list[str]:
        cpus = self._results.conditions.get("cpus")
        known = {
            "cpus": f"{cpus} {'core' if cpus == 1 else 'cores'}" if cpus else "The same cores",
            "small": SMALL,
            "rounds": summary.rounds_of(self._results),
        }
        points = "\n".join(f"- {point.format(**known)}" for point in prose.NOT_SHOWN)
        return ["## What these figures do not show", points]


def write(results: Results, docs: Path) -> Path:
    """Draw the plots and write the page into this folder; return the page's file."""
    # Here, so that the text can be had where there is no matplotlib.
    from benchmarks.survey.report.plots import draw_all  # noqa: PLC0415

    file = docs / PAGE
    drawn = draw_all(results, docs / IMAGES)
    file.write_text(Page(results, drawn).text(), encoding="utf-8")
    return file
