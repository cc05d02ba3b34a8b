"""Why a figure is missing, in words short enough for a footnote."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from benchmarks.survey.contenders import CONTENDERS
from benchmarks.survey.report.names import short

if TYPE_CHECKING:
    from collections.abc import Mapping

    from benchmarks.survey.results import Results, Row

LONGEST = 160  # characters of a reason
NOT_MEASURED = "not measured in this run"
SUPERSCRIPTS = str.maketrans("0123456789", "⁰¹²³⁴⁵⁶⁷⁸⁹")
# An absolute path tells of the machine, and nothing of the reason.
_PATH = re.compile(r"(?<![\w:/.])/(?:[^/\s'\":]+/)+")


class Notes:
    """The footnotes of one table: a reason that is given twice is written once."""

    def __init__(self) -> None:
        self._reasons: dict[str, str] = {}

    def mark(self, reason: str) -> str:
        """Return what stands in place of a figure that is missing for this reason."""
        number = str(len(self._reasons) + 1).translate(SUPERSCRIPTS)
        return f"- {self._reasons.setdefault(reason, number)}"

    def lines(self) -> list[str]:
        """Return a line of text for each footnote."""
        return [f"{number} {reason}" for reason, number in self._reasons.items()]


def why_missing(
    results: Results,
    work: str,
    parameters: Mapping[str, Any],
    contender: str,
    row: Row | None = None,
) -> str:
    """Return why a contender has no figure with these parameters."""
    if contender in results.absent:
        return brief(f"{short(contender)}: {results.absent[contender]}")
    if row is not None and row.note:
        return brief(f"{short(contender)}: {row.note}")
    return _by_nature(work, parameters, contender) or NOT_MEASURED


def _by_nature(work: str, parameters: Mapping[str, Any], contender: str) -> str:
    """Return why it can't be measured on such a contender; nothing if it could be."""
    if contender not in CONTENDERS:
        return "raw commands are measured with the basic parameters of some work alone"
    one = CONTENDERS[contender]
    if work == "workers" and not one.work_queue:
        return "each process would get each message: no work queue"
    if not one.server and (parameters.get("processes", 1) > 1 or work == "synchronous"):
        return "carries messages within one process alone"
    if one.server != "redis" and {"cluster", "encrypted", "shards"} & set(parameters):
        return "measured on Redis alone"
    if parameters.get("cluster") and not one.ours:
        return "cannot use a Redis Cluster"
    return ""


def without_folders(text: str) -> str:
    """Cut the folders off absolute paths."""
    return _PATH.sub("", text)


def brief(reason: str) -> str:
    """Cut a reason down to its last line, which is what a traceback ends with, in plain text."""
    head, colon, rest = reason.partition(": ")
    lines = [line for line in rest.splitlines() if line.strip()] or [rest]
    text = " ".join(f"{head}{colon}{lines[-1]}".split())
    text = re.sub(r"[|`<>*_\[\]\\]", lambda found: f"\\{found[0]}", without_folders(text))
    return text if len(text) <= LONGEST else f"{text[: LONGEST - 1].rstrip()}…"
