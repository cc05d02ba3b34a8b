"""How plots look: one colour and marker for each contender, in a light and a dark variant.

The colours are apart for the colour-blind too: blue for the queue layers, orange for Pub/Sub, the
strong shade for ours. What is raw is hollow.
"""

from __future__ import annotations

import io
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine
from matplotlib.lines import Line2D
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter, NullLocator

from benchmarks.survey.report import figures
from benchmarks.survey.report.names import short
from benchmarks.survey.report.svg import slim

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence
    from pathlib import Path

    from matplotlib.axes import Axes

    from benchmarks.survey.results import Results

    # What draws a plot, or nothing where there are no data for it.
    Draw = Callable[[Results, "Theme"], Figure | None]

WIDTH = 7.5  # inches: what a page of the site has room for
FIT = 5  # entries of a legend beside each other
SETTINGS = {
    "font.family": "sans-serif",
    "font.sans-serif": ["DejaVu Sans", "Verdana", "Helvetica", "Arial"],
    "font.size": 8.5,
    "axes.titlesize": 8.5,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.axisbelow": True,
    "axes.grid": True,
    "axes.facecolor": "none",
    "grid.linewidth": 0.6,
    "xtick.major.size": 0,
    "ytick.major.size": 0,
    "legend.frameon": False,
    "lines.linewidth": 1.5,
    "lines.markersize": 5,
    # Text stays text, which is small and can be searched; ids are the same in each run.
    "svg.fonttype": "none",
    "svg.hashsalt": "channels-redis",
}
NARROW = 200  # from the least to the greatest figure: powers of ten would be two ticks
MARKERS = {
    "queue": "o",
    "queue-4.3": "s",
    "raw-queue": "o",
    "pubsub": "^",
    "pubsub-4.3": "D",
    "raw-pubsub": "^",
    "nats": "v",
    "memory": "X",
}
# Of a file that is kept in git, only what differs should change.
_NO_METADATA = {"Date": None, "Creator": None, "Format": None, "Type": None}


@dataclass(frozen=True)
class Theme:
    """The colours of a variant: the page behind it, text, the grid, and each contender."""

    name: str
    ground: str
    text: str
    faint: str
    grid: str
    colours: dict[str, str]

    def colour(self, contender: str) -> str:
        """Return a contender's colour."""
        return self.colours.get(contender.replace("raw-", ""), self.faint)

    def marks(self, contender: str, *, line: bool = True) -> dict[str, Any]:
        """Return how a contender's points are drawn, and the line through them."""
        colour, raw = self.colour(contender), contender.startswith("raw-")
        return {
            "color": colour,
            "marker": MARKERS.get(contender, "."),
            "markerfacecolor": "none" if raw else colour,
            "linestyle": "none" if not line else "--" if raw else "-",
        }

    def settings(self) -> dict[Any, Any]:
        """Return matplotlib's settings for this variant."""
        of_text = ("text.color", "axes.titlecolor", "axes.labelcolor", "xtick.color", "ytick.color")
        return {
            **SETTINGS,
            **dict.fromkeys(of_text, self.text),
            "axes.edgecolor": self.grid,
            "grid.color": self.grid,
        }


THEMES = (
    Theme(
        "light",
        ground="#ffffff",
        text="#24292f",
        faint="#6e7781",
        grid="#d0d7de",
        colours={
            "queue": "#0072b2",
            "queue-4.3": "#72bff0",
            "pubsub": "#c44e00",
            "pubsub-4.3": "#f0a830",
            "nats": "#009e73",
            "memory": "#868e96",
        },
    ),
    Theme(
        "dark",
        ground="#131416",
        text="#d6d8da",
        faint="#9198a1",
        grid="#3a3f46",
        colours={
            "queue": "#3d9fe0",
            "queue-4.3": "#9bd0f5",
            "pubsub": "#f2722c",
            "pubsub-4.3": "#f7c865",
            "nats": "#2cc295",
            "memory": "#9aa2ab",
        },
    ),
)


def save(figure: Figure, file: Path) -> None:
    """Write a figure as SVG, without a background, in as few characters as look the same."""
    text = io.StringIO()
    figure.savefig(text, format="svg", transparent=True, metadata=_NO_METADATA)
    file.write_text(slim(text.getvalue()), encoding="utf-8")


def new_figure(height: float, title: str, finding: str = "") -> Figure:
    """Start a figure with what is shown and, below it, what is seen."""
    above = (0.42 if finding else 0.24) / height
    layout = ConstrainedLayoutEngine(rect=(0, 0, 1, 1 - above))
    figure = Figure(figsize=(WIDTH, height), layout=layout)
    figure.set_label(f"{title}. {finding}." if finding else f"{title}.")
    top = 1 - 0.04 / height
    figure.text(0.008, top, title, size=10.5, weight="bold", va="top")
    if finding:
        figure.text(0.008, top - 0.2 / height, finding, size=8.5, va="top")
    return figure


def legend(figure: Figure, contenders: Iterable[str], theme: Theme) -> None:
    """Put the contenders' marks below all panels."""
    marks = [
        Line2D([], [], label=short(contender), **theme.marks(contender)) for contender in contenders
    ]
    columns = len(marks) if len(marks) <= FIT else -(-len(marks) // 2)
    figure.legend(handles=marks, loc="outside lower center", ncols=columns, columnspacing=1.5)


def told_in(axis: Any, unit: str) -> None:
    """Write the ticks of an axis with their unit."""
    axis.set_major_formatter(FuncFormatter(lambda figure, _: tick(figure, unit)))
    axis.set_minor_formatter(NullFormatter())


def tick(figure: float, unit: str) -> str:
    """Write a tick as shortly as can be: 10 µs, 200k, 1M."""
    if unit in figures.SCALES:
        of_unit, symbol = figures.scale(figure, unit)
        return f"{figure / of_unit:,.4g} {symbol}" if figure else "0"
    for size, symbol in ((1e6, "M"), (1e3, "k")):
        if abs(figure) >= size:
            return f"{figure / size:.4g}{symbol}"
    return f"{figure:.4g}"


def decades(axis: Any, unit: str, values: Sequence[float]) -> None:
    """Give a logarithmic axis a tick for each power of ten, or more where that would be one."""
    axis.set_minor_locator(NullLocator())
    ends = min(values), max(values)
    few = ends[0] > 0 and ends[1] / ends[0] < NARROW
    axis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0) if few else (1.0,), numticks=9))
    told_in(axis, unit)


def bare(axes: Axes, *, keep: str = "x") -> None:
    """Leave the grid lines of one axis only, and no frame that they don't need."""
    axes.grid(visible=False, axis="y" if keep == "x" else "x")
    axes.spines["bottom" if keep == "y" else "left"].set_visible(keep == "y")
    axes.spines["left"].set_visible(False)
