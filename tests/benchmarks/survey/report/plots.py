"""The plots of the page, each as a light and a dark SVG."""

from __future__ import annotations

from typing import TYPE_CHECKING

import matplotlib as mpl

from benchmarks.survey.report import beside, courses, over
from benchmarks.survey.report.drawing import THEMES, save

if TYPE_CHECKING:
    from pathlib import Path

    from benchmarks.survey.report.drawing import Draw
    from benchmarks.survey.results import Results


def draw_all(results: Results, folder: Path) -> dict[str, str]:
    """Draw what there are data for; return a description of each plot by its name.

    Plots of an earlier run are removed.
    """
    folder.mkdir(parents=True, exist_ok=True)
    for old in folder.glob("*.svg"):
        old.unlink()
    drawn: dict[str, str] = {}
    for name, draw in plots(results).items():
        for theme in THEMES:
            with mpl.rc_context(theme.settings()):
                figure = draw(results, theme)
                if figure is not None:
                    save(figure, folder / f"{name}-{theme.name}.svg")
                    drawn[name] = str(figure.get_label())
    return drawn


def plots(results: Results) -> dict[str, Draw]:
    """Return what draws each plot, by its name."""
    return {
        "one-in-flight": beside.one_in_flight,
        "many-channels": beside.bars_of("many-channels", "50 senders to 50 channels: messages/s"),
        "fan-out": over.members("all_p50", "group_send: time until all members have the message"),
        "deliveries": over.members("deliveries", "group_send: deliveries/s"),
        "broadcasts": beside.bars_of("broadcasts", "50 messages at once to 20: deliveries/s"),
        "churn": beside.bars_of("churn", "Joining and leaving a group: rounds/s"),
        "workers": over.workers,
        "synchronous": beside.synchronous,
        "payload": over.payload,
        "costs": beside.costs,
        "idle": beside.idle,
        **{f"growth-{axis}": courses.growth(axis) for axis in courses.axes_of(results)},
        "soak": courses.soak,
    }
