"""What the report says of a run's results: figures, ratios, what is missing, which sections."""

from __future__ import annotations

import io
import re
import runpy
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from benchmarks.survey.report import figures, tables
from benchmarks.survey.report.compare import better
from benchmarks.survey.report.findings import in_a_sentence, overall, worse
from benchmarks.survey.report.names import with_parameters
from benchmarks.survey.report.page import Page
from benchmarks.survey.report.reasons import brief
from benchmarks.survey.report.svg import slim
from benchmarks.survey.results import Results, Row

if TYPE_CHECKING:
    from benchmarks.survey.report.compare import Parameters

DOCS = Path(__file__).parents[2] / "docs"
GROWTH = [
    {
        "axis": "members",
        "contender": "queue",
        "steps": [{"value": 10, "figures": {"deliveries": 1_234.5, "p50": 2e-4, "lost": 0}}],
        "gave": "the clients had no time left",
        "gave_at": 10,
    }
]
NODES = [
    {"contender": "queue", "nodes": n, "deliveries": 5e4 * n, "group_sends": 3e3, "limit": "CPU"}
    for n in (1, 10, 100)
]
PROFILES = [
    {
        "contender": "queue",
        "work": "many-channels",
        "side": "client",
        "entries": [{"what": "event loop", "share": 0.31}],
        "note": "",
    }
]
SOAK = {
    "minutes": 90,
    "layers": {
        "queue": {
            "samples": [
                {"t": 60.0 * at, "phase": "steady", "worker": 0, "rss": 6e7, "tasks": 9}
                for at in range(3)
            ],
            "verdicts": [
                {"quantity": "rss", "first": 2**26, "last": 2**26, "limit": 2**27, "flat": True},
                {"quantity": "tasks", "first": 9, "last": 99, "limit": 12, "flat": False},
            ],
            "messages": {"lost_in_calm": 0},
            "faults": {"restarts": 3},
        }
    },
}
OPTIONAL = {
    "## How cost grows": {"growth": GROWTH},
    "## What 1, 10 and 100 nodes carry": {"projection": NODES, "assumptions": ["No failures."]},
    "## Where the time goes": {"profiles": PROFILES},
    "## Soak": {"soak": SOAK},
}


def results(
    *rows: Row, absent: dict[str, str] | None = None, conditions: dict[str, Any] | None = None
) -> Results:
    """Make the results of a small run."""
    return Results(conditions or {}, {}, absent or {}, list(rows))


def row(
    contender: str,
    *rounds: float,
    work: str = "one-in-flight",
    metric: str = "p50",
    parameters: Parameters | None = None,
    note: str = "",
) -> Row:
    """Make a row with one metric, or none."""
    return Row(work, parameters or {}, contender, {metric: list(rounds)} if rounds else {}, note)


def cells(table: str) -> list[list[str]]:
    """Return the cells of a Markdown table's lines, as they are read."""
    told = table.replace("\N{NO-BREAK SPACE}", " ").replace("\N{WORD JOINER}", "")
    lines = [line for line in told.splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]


@pytest.mark.parametrize(
    ("figure", "unit", "told"),
    [
        (96.13e-6, "s", "96.1 µs"),
        (999.9e-6, "s", "1.00 ms"),
        (0.0123, "s", "12.3 ms"),
        (2.5, "s", "2.50 s"),
        (4e-7, "s", "400 ns"),
        (0, "s", "0 ns"),
        (20_512.3, "1/s", "20,500/s"),
        (512, "bytes", "512 B"),
        (512.345, "bytes", "512 B"),
        (8_090, "bytes", "7.90 KiB"),
        (-3 * 2**20, "bytes", "\N{MINUS SIGN}3.00 MiB"),
        (1_004, "connections", "1,004"),
        (2.25, "commands", "2.25"),
        (0.01234, "commands", "0.0123"),
    ],
)
def test_figures_are_told_with_three_digits(figure: float, unit: str, told: str) -> None:
    """A figure has three digits and a unit that suits; what is counted is told as it is."""
    assert figures.amount(figure, unit) == told.replace("µ", "\N{MICRO SIGN}")


def test_spread_is_told_in_the_unit_of_the_median() -> None:
    """A range is comparable with the figure beside it at a glance."""
    measured = tables.measured(row("queue", 950e-6, 1.2e-3, 11e-3), "p50")
    assert measured == f"1.20 ms (0.950{figures.DASH}11.0)"


@pytest.mark.parametrize(
    ("times", "told"),
    [(0.834, "0.83"), (0.996, "1.0"), (2.62, "2.6"), (9.96, "10"), (1234, "1,234")],
)
def test_ratios_have_two_digits(times: float, told: str) -> None:
    """The third digit of a ratio would be noise."""
    assert figures.ratio(times) == told


@pytest.mark.parametrize(("metric", "times"), [("p50", 3.0), ("rate", 1 / 3)])
def test_ratio_says_how_many_times_better(metric: str, times: float) -> None:
    """Less time is better, and more messages are."""
    ratio = better(
        row("queue", 1.0, 2.0, 3.0, metric=metric),
        row("queue-4.3", 2.0, 6.0, 12.0, metric=metric),
        metric,
    )
    assert ratio is not None
    assert ratio.median == pytest.approx(times)


def test_spread_of_a_ratio_is_that_of_the_rounds() -> None:
    """Rounds are compared in pairs, since both sides did them at about the same time."""
    ratio = better(row("queue", 1.0, 2.0), row("queue-4.3", 2.0, 10.0), "p50")
    assert ratio is not None
    assert (ratio.least, ratio.greatest) == (2.0, 5.0)
    assert str(ratio) == f"4.0{figures.TIMES} (2.0{figures.DASH}5.0)"


def test_no_ratio_without_both() -> None:
    """Nothing is made up where one of the two has no figures, or a figure is zero."""
    assert better(row("queue", 1.0), row("queue-4.3"), "p50") is None
    assert better(row("queue", 1.0), None, "p50") is None
    assert better(row("queue", 0.0), row("queue-4.3", 1.0), "p50") is None


def test_sentences_are_made_from_the_data() -> None:
    """What is stated are the medians, their ratio, and the share of raw."""
    told = in_a_sentence(
        results(row("queue", 1e-3), row("queue-4.3", 4e-3), row("raw-queue", 5e-4)),
        "one-in-flight",
        {},
        "p50",
    )
    assert told == (
        "Half of the messages arrive within: queue 1.00 ms, queue 4.3.0 4.00 ms, which is "
        f"4.0{figures.TIMES}, and 50 % of raw."
    )


def test_being_behind_is_said() -> None:
    """The page lists where ours are not the better."""
    found = results(
        row("queue", 2.0), row("queue-4.3", 1.0), row("pubsub", 1.0), row("pubsub-4.3", 2.0)
    )
    assert worse(found) == [
        f"One message in flight: queue behind channels_redis 4.3.0 in 1 of 1, 0.50{figures.TIMES}"
    ]
    assert overall(found)[0].startswith("The queue layer is the better in 0 of 1 measurements")
    assert "Where ours are behind channels_redis 4.3.0:\n" in Page(found, {}).text()


def test_being_ahead_is_said_of_those_who_were_there() -> None:
    """Nothing is said of contenders that were not measured."""
    found = results(row("queue", 1.0), row("queue-4.3", 2.0))
    assert "Nowhere are they behind channels_redis 4.3.0.\n" in Page(found, {}).text()
    assert "they behind" not in Page(results(row("queue", 1.0)), {}).text()


def test_missing_contender_has_a_footnote() -> None:
    """A contender that was not there has a dash in each table, and below it the reason."""
    found = results(row("queue", 1e-3), row("queue-4.3", 2e-3), absent={"nats": "no nats-server"})
    for table in (
        tables.at_a_glance(found, "one-in-flight"),
        tables.in_full(found, "one-in-flight"),
    ):
        assert "- ¹" in [cell for line in cells(table) for cell in line]
        assert table.endswith("\n\n¹ NATS: no nats-server")
    assert "channels-nats is missing: no nats-server." in Page(found, {}).text()


def test_failure_has_a_footnote() -> None:
    """Work that failed has a dash with the last line of what went wrong."""
    failed = row("nats", note='Traceback:\n  File "/x/y/z.py"\nTooLarge: 1 | 2\n')
    table = tables.in_full(results(row("queue", 1e-3), failed), "one-in-flight")
    assert cells(table)[-1] == ["NATS", "- ¹"]
    assert table.endswith("¹ NATS: TooLarge: 1 \\| 2")


def test_same_reason_has_one_footnote() -> None:
    """What several figures lack for one reason is explained once."""
    big, encrypted = {"payload": 10_000}, {"encrypted": True}
    found = results(
        row("queue", 1.0), row("nats", 1.0), row("queue", 1.0, parameters=encrypted),
        row("queue", 1.0, parameters=big), row("nats", parameters=big, note="lost"),
        row("memory", parameters=big, note="lost"),
    )  # fmt: skip
    notes = [line for line in tables.at_a_glance(found, "one-in-flight").splitlines() if line]
    assert [line for line in notes if not line.startswith("|")] == [
        "¹ not measured in this run",
        "² measured on Redis alone",
        "³ NATS: lost",
        "⁴ in memory: lost",
    ]


def test_reasons_tell_nothing_of_the_machine() -> None:
    """Folders are cut off paths, and long reasons are cut."""
    assert brief("no /home/ada/bin/nats-server, see https://nats.io/a/b") == (
        "no nats-server, see https://nats.io/a/b"
    )
    assert len(brief("x" * 1_000)) == 160


def test_parameters_are_said_in_words() -> None:
    """One of a thing is in the singular; a flag is its name."""
    told = with_parameters({"members": 1, "processes": 4, "payload": 10_000, "encrypted": True})
    assert told.replace("\N{NO-BREAK SPACE}", " ") == (
        "1 member, 4 processes, messages of 10 kB, encrypted"
    )
    assert with_parameters({"processes": 1}).endswith("process")


@pytest.mark.parametrize(("heading", "data"), OPTIONAL.items())
def test_section_without_data_is_left_out(heading: str, data: dict[str, Any]) -> None:
    """A section is there if the run has something for it, and only then."""
    found = results(row("queue", 1e-3), row("queue-4.3", 2e-3))
    assert heading not in Page(found, {}).text().splitlines()
    for name, value in data.items():
        setattr(found, name, value)
    headings = [line for line in Page(found, {}).text().splitlines() if line.startswith("## ")]
    assert heading in headings
    assert headings[-1] == "## What these figures do not show"


def test_soak_says_what_grew() -> None:
    """The verdicts are counted, and what grew stands out."""
    found = results(row("queue", 1e-3))
    found.soak = SOAK  # type: ignore[attr-defined, unused-ignore]
    text = Page(found, {}).text()
    assert "Of 2 quantities that must not grow, 1 did not." in text
    assert "- queue: tasks grew from 9 to 99; the limit is 12\n" in text
    assert ["queue", "rss", "64.0 MiB", "64.0 MiB", "128 MiB", "no"] in cells(text)
    assert ["lost in calm", "0"] in cells(text)


def test_page_has_the_plots_that_were_drawn() -> None:
    """Each plot is there in its two variants; none that was not drawn."""
    found = results(row("queue", 1e-3), row("queue-4.3", 2e-3))
    text = Page(found, {"one-in-flight": 'What "it" shows.'}).text()
    assert re.findall(r"images/benchmarks/[\w-]+\.svg", text) == [
        "images/benchmarks/one-in-flight-dark.svg",
        "images/benchmarks/one-in-flight-light.svg",
    ]
    assert 'alt="What &quot;it&quot; shows."' in text


def test_site_shows_the_variant_that_suits() -> None:
    """The site's settings turn a plot of the page into an image for each of the two modes."""
    settings = runpy.run_path(str(DOCS / "conf.py"))
    source = [Page(results(row("queue", 1e-3)), {"one-in-flight": "What it shows."}).text()]
    settings["_both_images"](None, "benchmarks", source)
    assert "<picture>" not in source[0]
    for mode in ("light", "dark"):
        image = f"```{{image}} images/benchmarks/one-in-flight-{mode}.svg\n"
        assert f"{image}:alt: What it shows.\n:class: only-{mode}\n```\n" in source[0]


def test_page_says_how_to_repeat_it() -> None:
    """The command and the machine are those of the run."""
    told = {"command": "hatch run bench --rounds 1 --json /home/ada/b.json", "cpus": 2, "rounds": 1}
    text = Page(results(row("queue", 1e-3), conditions=told), {}).text()
    assert text.startswith("<!-- Written by `python -m benchmarks.survey.report")
    assert "```console\nhatch run bench --rounds 1 --json b.json\n```" in text
    assert "the median of 1 round," in text
    assert "**Your machine.** 2 cores carried" in text


def test_work_that_all_failed_at_is_told() -> None:
    """A work without any figure has a section that says why."""
    text = Page(results(row("queue", note="no server")), {}).text()
    assert "## One message in flight\n\nThere are no figures.\n\n- queue: no server\n" in text


def test_terminal_has_each_contender_and_the_ratio() -> None:
    """The end of a run shows medians, spread and ratio, and why something is missing."""
    rich = pytest.importorskip("rich.console", reason="rich is not installed")
    from benchmarks.survey.report.terminal import print_tables  # noqa: PLC0415

    console = rich.Console(width=120, record=True, file=io.StringIO())
    print_tables(
        results(
            row("queue", 1e-3, 1e-3, 2e-3), row("queue-4.3", 4e-3, 4e-3, 4e-3),
            row("nats", note="[down]"), absent={"memory": "gone"},
        ),
        console,
    )  # fmt: skip
    text = console.export_text()
    assert re.search(
        rf"queue +│ +1\.00 ms \(1\.00{figures.DASH}2\.00\) │ 4\.0{figures.TIMES} ", text
    )
    assert "[down]" in text
    assert "in memory was not measured: gone" in text


def test_plots_are_the_same_each_time(tmp_path: Path) -> None:
    """Drawn twice from the same results, the files do not differ; both variants are there."""
    pytest.importorskip("matplotlib", reason="matplotlib is not installed")
    from benchmarks.survey.report.plots import draw_all  # noqa: PLC0415

    found = results(
        *(row(name, 9.0, work="churn", metric="rate") for name in ("queue", "memory")),
    )
    contents = []
    for folder in (tmp_path / "one", tmp_path / "two"):
        assert draw_all(found, folder) == {"churn": "Joining and leaving a group: rounds/s."}
        contents.append({file.name: file.read_bytes() for file in folder.iterdir()})
    assert sorted(contents[0]) == ["churn-dark.svg", "churn-light.svg"]
    assert contents[0] == contents[1]


def test_svg_gets_shorter() -> None:
    """What says nothing goes; fonts are named once, numbers cut, ids that are referred to stay."""
    text = (
        '<svg>\n <style type="text/css">*{}</style>\n <g id="text_1">\n'
        '  <text style="font-size: 8px; font-family: A, b; fill: #fff" x="1.2345" '
        'transform="rotate(-0 1 2)">queue 4.3.0</text>\n </g>\n <g id="line2d_1"/>\n'
        ' <clipPath id="p1"/>\n</svg>\n'
    )
    assert slim(text) == (
        '<svg>\n<style type="text/css">*{}text{font-family: A, b}</style>\n<g>\n'
        '<text style="font-size: 8px; fill: #fff" x="1.23">queue 4.3.0</text>\n</g>\n'
        '<clipPath id="p1"/>\n</svg>\n'
    )
