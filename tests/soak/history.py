"""A run as its processes have recorded it: sends, receipts, memberships and faults."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from soak.journal import UNKNOWN

if TYPE_CHECKING:
    from pathlib import Path

Event = dict[str, Any]


@dataclass
class Send:
    """A call of `send` or `group_send`.

    Attributes:
        id: The number in the message.
        sender: Sends one message after the other; no other one has its name.
        kind: "direct", "general" or "group".
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
class Receipt:
    """A message that `receive` returned."""

    id: int
    channel: str
    by: str
    at: float


@dataclass
class Channel:
    """The time in which a process receives from a channel.

    Attributes:
        readers: How many calls of `receive` may wait at once.
        busy: Times in which its consumer did something else.
    """

    name: str
    by: str
    opened: float
    closed: float = math.inf
    readers: int = 1
    general: bool = False
    busy: list[tuple[float, float]] = field(default_factory=list)


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
        since: From then on, what a server was told is lost, and so is what it had done.
    """

    kind: str
    begin: float
    end: float
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
class Notice:
    """A message of the layer itself."""

    type: str
    channel: str
    by: str
    at: float


@dataclass(frozen=True)
class Failure:
    """An exception that no absent server explains, or any out of `receive`."""

    call: str
    channel: str
    by: str
    at: float
    error: str


@dataclass(frozen=True)
class BrowserEvent:
    """An event of a browser whose group has a history.

    Attributes:
        kind: "connect", "connected", "shown", "told" (that messages are missing) or "disconnect".
        group: The browser's group.
        id: The message that was shown.
        recovered: True if nothing was missed, as the layer says.
    """

    kind: str
    group: str
    at: float
    id: int = 0
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
    sends: dict[int, Send] = field(default_factory=dict)
    receipts: list[Receipt] = field(default_factory=list)
    channels: list[Channel] = field(default_factory=list)
    memberships: list[Membership] = field(default_factory=list)
    faults: list[Fault] = field(default_factory=list)
    notices: list[Notice] = field(default_factory=list)
    failures: list[Failure] = field(default_factory=list)
    # By the name of the browser.
    browsers: dict[str, list[BrowserEvent]] = field(default_factory=dict)


class _Reader:
    """Builds a history out of events in the order of their times."""

    def __init__(self) -> None:
        self.history = History()
        self._open: dict[tuple[str, str], Channel] = {}
        self._members: dict[tuple[str, str], Membership] = {}
        self._faults: dict[int, Event] = {}

    def add(self, event: Event) -> None:
        """Add one event."""
        name = "browser" if "browser" in event else event["event"]
        getattr(self, f"_on_{name}")(event)

    def finish(self) -> None:
        """Add the faults that never ended."""
        for begun in self._faults.values():
            self._add_fault(begun, {"at": math.inf})

    def _on_send(self, event: Event) -> None:
        names = ("id", "sender", "kind", "to", "by")
        self.history.sends[event["id"]] = Send(
            begun=event["at"], **{name: event[name] for name in names}
        )

    def _on_sent(self, event: Event) -> None:
        send = self.history.sends[event["id"]]
        send.ended, send.outcome, send.error = event["at"], event["outcome"], event["error"]

    def _on_got(self, event: Event) -> None:
        receipt = Receipt(event["id"], event["channel"], event["by"], event["at"])
        self.history.receipts.append(receipt)

    def _on_open(self, event: Event) -> None:
        channel = Channel(event["channel"], event["by"], event["at"])
        channel.readers, channel.general = event["readers"], event["general"]
        self._open[channel.by, channel.name] = channel
        self.history.channels.append(channel)

    def _on_close(self, event: Event) -> None:
        self._open.pop((event["by"], event["channel"])).closed = event["at"]

    def _on_busy(self, event: Event) -> None:
        until = event["at"] + event["seconds"]
        self._open[event["by"], event["channel"]].busy.append((event["at"], until))

    def _on_join(self, event: Event) -> None:
        member = Membership(event["group"], event["channel"], event["at"])
        self._members[member.group, member.channel] = member
        self.history.memberships.append(member)

    def _on_joined(self, event: Event) -> None:
        self._members[event["group"], event["channel"]].added = event["at"]

    def _on_leave(self, event: Event) -> None:
        self._members[event["group"], event["channel"]].leaving = event["at"]

    def _on_left(self, event: Event) -> None:
        self._members[event["group"], event["channel"]].left = event["at"]

    def _on_notice(self, event: Event) -> None:
        notice = Notice(event["type"], event["channel"], event["by"], event["at"])
        self.history.notices.append(notice)

    def _on_error(self, event: Event) -> None:
        failure = Failure(event["call"], event["channel"], event["by"], event["at"], event["error"])
        self.history.failures.append(failure)

    def _on_browser(self, event: Event) -> None:
        details = {name: event[name] for name in ("id", "recovered") if name in event}
        told = BrowserEvent(event["event"], event["group"], event["at"], **details)
        self.history.browsers.setdefault(event["browser"], []).append(told)

    def _on_fault(self, event: Event) -> None:
        self._faults[event["number"]] = event

    def _on_healed(self, event: Event) -> None:
        self._add_fault(self._faults.pop(event["number"]), event)

    def _add_fault(self, begun: Event, ended: Event) -> None:
        names = ("process", "killed", "silent", "split", "since")
        told = {name: one[name] for one in (begun, ended) for name in names if name in one}
        self.history.faults.append(Fault(begun["kind"], begun["at"], ended["at"], **told))

    def _on_run(self, event: Event) -> None:
        for name in ("layer", "hosts", "expiry"):
            setattr(self.history, name, event[name])

    def _on_mark(self, event: Event) -> None:
        setattr(self.history, event["name"], event["at"])


def read(folder: Path) -> History:
    """Return the history that the journals in a folder tell together."""
    journals = sorted(folder.glob("*.jsonl"))
    lines = [line for path in journals for line in path.read_text().splitlines()]
    reader = _Reader()
    # Stable: what one process did at once stays in its order.
    for event in sorted(map(json.loads, lines), key=lambda event: float(event["at"])):
        reader.add(event)
    reader.finish()
    return reader.history
