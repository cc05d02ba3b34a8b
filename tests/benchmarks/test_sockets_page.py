"""The figures of WebSockets are those of the run, on each page and in the drawing."""

from __future__ import annotations

import json
import re
from pathlib import Path
from statistics import median

import pytest

from benchmarks.guides import table
from benchmarks.survey.report import amount

REPOSITORY = Path(__file__).parents[2]
DOCS = REPOSITORY / "docs"
RUN = json.loads((DOCS / "sockets.json").read_text(encoding="utf-8"))
PEERS = {
    "queue": "queue",
    "queue, Python 3.13": "queue-python-3.13",
    "Pub/Sub": "pubsub",
    "Pub/Sub, Python 3.13": "pubsub-python-3.13",
    "Socket.IO, Streams": "socket.io-streams",
    "Socket.IO, Pub/Sub": "socket.io-pubsub",
    "ws": "ws",
    "raw writes": "raw-writes",
}
BESIDE_PEERS = {
    "until all have it": ("all_p50", "s"),
    "CPU time of a frame": ("frame_cpu", "s"),
    "20 under way": ("deliveries", "1/s"),
    "20 under way: CPU time of a frame": ("busy_frame_cpu", "s"),
}
CONTENDERS = ("queue", "queue+", "queue-4.3", "pubsub", "pubsub+", "pubsub-4.3", "nats")


def figure(contender: str, members: int, processes: int, metric: str) -> str:
    """Return a median; `+` stands for broadcasts."""
    parameters = {"members": members, "processes": processes}
    if contender.endswith("+"):
        parameters["broadcast"] = True
    (row,) = (
        row
        for row in RUN["rows"]
        if (row["contender"], row["parameters"]) == (contender.rstrip("+"), parameters)
    )
    return amount(median(row["figures"][metric]), "s" if metric == "all_p50" else "1/s")


def test_table_has_the_figures_of_the_run() -> None:
    """Each row of the table is a size of the group, and one of the two metrics."""
    page = (DOCS / "broadcast.md").read_text(encoding="utf-8")
    rows = re.findall(
        r"^\| ([\d,]+) sockets, (\d) process\w*: (.+?) \| (.+) \|$", page, re.MULTILINE
    )
    assert len(rows) == 8
    for members, processes, what, cells in rows:
        metric = "all_p50" if what == "until all have it" else "deliveries"
        size = int(members.replace(",", "")), int(processes)
        assert cells.split(" | ") == [figure(one, *size, metric) for one in CONTENDERS]


def test_table_beside_peers_has_the_figures_of_their_run() -> None:
    """Each column is a contender, with the medians of its rounds."""
    run = json.loads((DOCS / "peers.json").read_text(encoding="utf-8"))
    rounds = {row["contender"]: row["figures"] for row in run["rows"]}
    columns = {
        title: {metric: median(figures) for metric, figures in rounds[name].items()}
        for title, name in PEERS.items()
    }
    assert table(BESIDE_PEERS, columns) in (DOCS / "broadcast.md").read_text(encoding="utf-8")


def test_drawing_has_the_figures_of_the_run() -> None:
    """Its bars are as long as their figures say, and those are of 1,000 sockets of one process."""
    drawing = (DOCS / "images/browsers.svg").read_text(encoding="utf-8")
    labels = re.findall(r'text-anchor="end"[^>]*>(.+?)<', drawing)
    shown = {
        label.replace("channels_redis 4.3.0, ", "4.3 "): (text, float(length))
        for label, length, text in zip(
            labels,
            re.findall(r'<rect x="238" [^>]*width="(\S+)"', drawing),
            re.findall(r">([\d.]+ ms)<", drawing),
            strict=True,
        )
    }
    names = {
        "4.3 queue": "queue-4.3",
        "4.3 Pub/Sub": "pubsub-4.3",
        "queue": "queue",
        "Pub/Sub": "pubsub",
        "queue, with broadcasts": "queue+",
        "Pub/Sub, with broadcasts": "pubsub+",
    }
    assert shown.keys() == names.keys()
    for label, (text, length) in shown.items():
        assert text == figure(names[label], 1000, 1, "all_p50")
        assert length == pytest.approx(2.4 * float(text.split()[0]))
