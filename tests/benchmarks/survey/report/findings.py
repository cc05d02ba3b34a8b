"""Sentences that state figures: made from the data, so that they are true of each run."""

from __future__ import annotations

import statistics
from typing import TYPE_CHECKING

from benchmarks.survey.contenders import CONTENDERS
from benchmarks.survey.report import figures
from benchmarks.survey.report.compare import better, contenders_of, headlines
from benchmarks.survey.report.names import BEFORE, OURS, RAW, short, with_parameters
from benchmarks.survey.report.prose import HEADINGS, SAID
from benchmarks.survey.results import METRICS

if TYPE_CHECKING:
    from benchmarks.survey.report.compare import Parameters, Ratio
    from benchmarks.survey.results import Results

THEIRS = "channels_redis 4.3.0"


def against(
    results: Results, work: str, parameters: Parameters, metric: str, *, of: dict[str, str]
) -> dict[str, Ratio]:
    """Return how many times better each of ours is than its counterpart, where both are known."""
    pairs = {
        ours: better(
            results.find(work, ours, **parameters), results.find(work, theirs, **parameters), metric
        )
        for ours, theirs in of.items()
    }
    return {ours: ratio for ours, ratio in pairs.items() if ratio is not None}


def in_short(results: Results, work: str, parameters: Parameters, metric: str) -> str:
    """Say how ours compare, in few words for the top of a plot."""
    ratios = against(results, work, parameters, metric, of=BEFORE)
    told = [f"{short(ours)} {figures.ratio(ratio.median)}" for ours, ratio in ratios.items()]
    if not told:
        return ""
    kind = "times as fast as" if METRICS[metric].unit in {"s", "1/s"} else "times less than"
    return f"{' and '.join(told)} {kind} {THEIRS}"


def in_a_sentence(results: Results, work: str, parameters: Parameters, metric: str) -> str:
    """Say what ours and theirs reached with these parameters, and how they compare."""
    unit, told = METRICS[metric].unit, []
    raw = against(results, work, parameters, metric, of=RAW)
    for ours, ratio in against(results, work, parameters, metric, of=BEFORE).items():
        mine, other = (
            f"{short(name)} {figures.amount(found.median(metric) or 0, unit)}"
            for name in (ours, BEFORE[ours])
            if (found := results.find(work, name, **parameters))
        )
        beside = f", and {figures.percent(raw[ours].median)} of raw" if ours in raw else ""
        told.append(f"{mine}, {other}, which is {ratio}{beside}")
    if not told:
        return ""
    begins = said(metric)
    if parameters:
        begins = f"With {with_parameters(parameters)}, {begins[0].lower()}{begins[1:]}"
    return f"{begins}: {'; '.join(told)}."


def said(metric: str) -> str:
    """Return how a sentence begins that tells this metric."""
    return SAID.get(metric) or METRICS[metric].title.capitalize()


def overall(results: Results) -> list[str]:
    """Say for each of ours in how many of all measurements it was the better, and by how much."""
    told = []
    for ours, theirs in BEFORE.items():
        ratios = {
            (work, with_parameters(parameters)): found[ours]
            for work, parameters, metric in headlines(results)
            if (found := against(results, work, parameters, metric, of={ours: theirs}))
        }
        if ratios:
            medians = [ratio.median for ratio in ratios.values()]
            least, most = min(medians), max(medians)
            told.append(
                f"The {short(ours)} layer is the better in {sum(one > 1 for one in medians)} of "
                f"{len(medians)} measurements; the middle of all ratios is "
                f"{figures.ratio(statistics.median(medians))}{figures.TIMES}, the least "
                f"{figures.ratio(least)}{figures.TIMES}, the greatest "
                f"{figures.ratio(most)}{figures.TIMES}."
            )
    return told


def worse(results: Results) -> list[str]:
    """Say of which work one of ours is behind 4.3.0's layer, or behind NATS, and how far."""
    found: dict[tuple[str, str, str], list[tuple[str, Ratio]]] = {}
    for work, parameters, metric in headlines(results):
        for ours in OURS:
            for other in (BEFORE[ours], "nats"):
                ratio = against(results, work, parameters, metric, of={ours: other}).get(ours)
                if ratio is not None:
                    measured = found.setdefault((work, ours, other), [])
                    measured.append((with_parameters(parameters), ratio))
    told = []
    for (work, ours, other), ratios in found.items():
        behind = [(setting, ratio) for setting, ratio in ratios if ratio.median < 1]
        if behind:
            setting, worst = min(behind, key=lambda one: one[1].median)
            where = f"at worst {worst}, {setting}" if len(ratios) > 1 else str(worst)
            told.append(
                f"{HEADINGS.get(work, work)}: {short(ours)} behind {_who(other)} in {len(behind)} "
                f"of {len(ratios)}, {where}"
            )
    return told


def compared_with(results: Results) -> str:
    """Name those that `worse` has compared ours with; nothing if there was nobody."""
    there = set(contenders_of(results))
    others = [
        *([THEIRS] if there & set(BEFORE.values()) else []),
        *([_who("nats")] if "nats" in there else []),
    ]
    return " or ".join(others) if there & set(OURS) else ""


def _who(other: str) -> str:
    return THEIRS if other in BEFORE.values() else CONTENDERS[other].title


def of_raw(results: Results) -> list[str]:
    """Say what share of raw redis-py's speed ours reach: the least and the greatest."""
    told = []
    for ours, raw in RAW.items():
        shares = [
            found[ours].median
            for work, parameters, metric in headlines(results)
            if (found := against(results, work, parameters, metric, of={ours: raw}))
        ]
        if shares:
            least, most = figures.percent(min(shares)), figures.percent(max(shares))
            between = least if least == most else f"{least} to {most}"
            told.append(f"the {short(ours)} layer {between}")
    return told
