"""A run as its processes have recorded it: sends, receipts, memberships and faults."""

from __future__ import annotations

import json
import math
from collections import defaultdict
from dataclasses import dataclass, field, fields
from typing import TYPE_CHECKING, Any, get_args, get_type_hints

from soak.journal import UNKNOWN

if TYPE_CHECKING:
    from pathlib import Path


@dataclass
class Send:
    """A call of `send` or `group_send`.

    Attributes:
        id: The number in the message.
        sender: Sends one message after the other; no other one has its name.
        kind: "direct", "general", "group" or "recoverable".
        to: The channel or group.
        begun: The time before the call.
        by: The sender's process.
        ended: The time after it; infinite if it never ended.
        outcome: "ok", "failed" or "unknown".
        error: The exception.
    """

    id: int
    sender: str
    kind: str
    to: str
    begun: float
    by: str = ""
    ended: float = math.inf
    outcome: str = UNKNOWN
    error: str = ""


@dataclass(frozen=True)
class Event:
    """Something that happened at a channel.

    Attributes:
        channel: The channel, or the browser's name.
        by: The process.
    """

    channel: str
    by: str
    at: float


@dataclass(frozen=True)
class Receipt(Event):
    """A message that `receive` returned, or that a browser was shown."""

    id: int


@dataclass
class Channel:
    """The time in which a process receives from a channel.

    Attributes:
        readers: How many calls of `receive` may wait at once.
    """

    name: str
    by: str
    opened: float
    closed: float = math.inf
    readers: int = 1
    general: bool = False


@dataclass(frozen=True)
class Busy(Event):
    """The begin of a time in which the consumer does something else."""

    seconds: float


@dataclass
class Membership:
    """A channel's time in a group.

    Attributes:
        adding, added: The times before and after `group_add`; infinite if it never succeeded.
        leaving, left: Likewise, of `group_discard`.
    """

    group: str
    channel: str
    adding: float
    added: float = math.inf
    leaving: float = math.inf
    left: float = math.inf


@dataclass(frozen=True)
class Fault:
    """Something that was broken on purpose.

    Attributes:
        kind: Its name.
        begin, end: Its time; the same for a moment.
        process: The process that it is about; without one, it is about servers.
        killed: True if that process ended by it.
        silent: True if connections seem to be open but pass nothing on.
        split: True if two servers take themselves for the master meanwhile.
        since: From then on, what was sent to a server is lost, and so is what it had done.
    """

    kind: str
    begin: float
    end: float = math.inf
    process: str = ""
    killed: bool = False
    silent: bool = False
    split: bool = False
    since: float = math.inf

    @property
    def loses(self) -> bool:
        """True if a server forgets something."""
        return self.since < math.inf


@dataclass(frozen=True)
class Notice(Event):
    """A message of the layer itself."""

    type: str


@dataclass(frozen=True)
class Failure(Event):
    """An exception that no absent server explains, or any out of `receive`."""

    call: str
    error: str


@dataclass(frozen=True)
class BrowserEvent:
    """An event of a browser whose group has a history.

    Attributes:
        browser: Its name.
        kind: "connect", "connected", "told" (that messages are missing) or "disconnect".
        group: The browser's group.
        recovered: True if nothing was missed, as the layer says.
    """

    browser: str
    kind: str
    group: str
    at: float
    recovered: bool = True


@dataclass
class History:
    """All of a run.

    Attributes:
        layer: "queue" or "pubsub".
        hosts: The number of `hosts`.
        expiry: The layer's option.
        healed: The time at which the last fault ended.
        stopped: The time at which the senders stopped.
        ended: The time after which no receipt was awaited any more.
    """

    layer: str = "queue"
    hosts: int = 1
    expiry: float = 60
    healed: float = math.inf
    stopped: float = math.inf
    ended: float = math.inf
    sends: list[Send] = field(default_factory=list)
    receipts: list[Receipt] = field(default_factory=list)
    channels: list[Channel] = field(default_factory=list)
    busy: list[Busy] = field(default_factory=list)
    memberships: list[Membership] = field(default_factory=list)
    faults: list[Fault] = field(default_factory=list)
    notices: list[Notice] = field(default_factory=list)
    failures: list[Failure] = field(default_factory=list)
    browsers: list[BrowserEvent] = field(default_factory=list)


# The kinds of records, by the names of their lists.
RECORDS: dict[str, Any] = {
    name: get_args(hint)[0] for name, hint in get_type_hints(History).items() if get_args(hint)
}


def read(folder: Path) -> History:
    """Return the history that the journals in a folder tell together."""
    journals = sorted(folder.glob("*.jsonl"))
    lines = [json.loads(line) for path in journals for line in path.read_text().splitlines()]
    found: dict[str, dict[str, dict[str, Any]]] = defaultdict(lambda: defaultdict(dict))
    # Stable: what one process did at once stays in its order.
    for line in sorted(lines, key=lambda line: float(line["time"])):
        line[line["moment"]] = line["time"]
        found[line["record"]][line["key"]].update(line)
    (run,) = found["run"].values()
    history: History = _record(History, run)
    for name, kind in RECORDS.items():
        setattr(history, name, [_record(kind, details) for details in found[name].values()])
    return history


def _record(kind: Any, details: dict[str, Any]) -> Any:
    known = [attribute.name for attribute in fields(kind)]
    return kind(**{name: details[name] for name in known if name in details})
