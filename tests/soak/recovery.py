"""Find what browsers of groups with a history missed without being told, or were shown twice."""

from __future__ import annotations

from typing import TYPE_CHECKING

from soak.journal import OK, RECOVERABLE

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from soak.history import BrowserEvent, History, Send

Found = tuple[str, float, str]  # the promise, the time, and what happened

# Seconds in which a connected browser is shown a message when nothing is wrong.
ARRIVAL = 4.0


def violations(history: History) -> Iterator[Found]:
    """Yield what breaks the promises of groups with a history."""
    for name, events in history.browsers.items():
        yield from _shown_twice(name, events)
        yield from _out_of_order(history, name, events)
        yield from _lost_in_silence(history, name, events)


def _shown_twice(name: str, events: Sequence[BrowserEvent]) -> Iterator[Found]:
    seen: set[int] = set()
    for event in events:
        if event.kind != "shown":
            continue
        if event.id in seen:
            yield "shown once", event.at, f"browser {name} was shown {event.id} again"
        seen.add(event.id)


def _out_of_order(history: History, name: str, events: Sequence[BrowserEvent]) -> Iterator[Found]:
    latest: dict[str, Send] = {}
    for event in events:
        send = history.sends.get(event.id)
        if event.kind != "shown" or send is None or send.outcome != OK:
            continue
        before = latest.setdefault(send.sender, send)
        if before.begun > send.begun:
            what = f"browser {name} was shown {send.id} of {send.sender} after {before.id}"
            yield "shown in order", event.at, what
        else:
            latest[send.sender] = send


def _lost_in_silence(
    history: History, name: str, events: Sequence[BrowserEvent]
) -> Iterator[Found]:
    """Yield messages that a browser missed although it was told of no gap there."""
    connected = next((event for event in events if event.kind == "connected"), None)
    if connected is None:
        return
    shown = [event for event in events if event.kind == "shown"]
    seen = {event.id for event in shown}
    gaps = [
        event.at
        for event in events
        if event.kind == "told" or (event.kind == "connected" and not event.recovered)
    ]
    stays = events[-1].kind not in {"disconnect", "connect"}
    for send in history.sends.values():
        if send.kind != RECOVERABLE or send.outcome != OK or send.to != connected.group:
            continue
        if send.begun < connected.at or send.id in seen or _is_unread_tail(history, send):
            continue
        # Those that are certainly before and after it in the history.
        before = [event.at for event in shown if history.sends[event.id].ended < send.begun]
        after = [event.at for event in shown if history.sends[event.id].begun > send.ended]
        if not after and not (stays and send.ended + ARRIVAL < history.ended):
            continue  # the browser has not come back, or not for long enough
        begin = max(before, default=connected.at)
        end = min(after, default=history.ended)
        if not any(begin <= gap <= end for gap in gaps):
            what = f"browser {name} missed {send.id} to {send.to}, and was not told"
            yield "nothing lost in silence", send.begun, what


def _is_unread_tail(history: History, send: Send) -> bool:
    """Return whether a server forgot a message and its position, so that none could know of it."""
    return any(
        send.begun <= fault.end and send.ended >= fault.since
        for fault in history.faults
        if fault.loses
    )
