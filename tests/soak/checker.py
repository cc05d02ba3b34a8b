"""Find violations of the promises of `docs/choosing.md`."""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from dataclasses import dataclass
from functools import cached_property, partial
from typing import TYPE_CHECKING, TypeVar

from soak.journal import BACK, DIRECT, FAILED, GENERAL, GROUP, LOST, OK, RECOVERABLE
from soak.times import longest_gap, overlaps

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from soak.history import Busy, Channel, Fault, History, Membership, Receipt, Send
    from soak.times import Span

    Findings = Iterator[tuple[float, str]]  # when a promise was not kept, and what happened

K = TypeVar("K")
T = TypeVar("T")

# Seconds after a fault in which everything flows again.
RECOVERY = 10.0
# Seconds in which a message arrives when nothing is wrong: far more than it takes, as the processes
# share a machine.
ARRIVAL = 4.0
# Seconds that a process may need to write down what has happened.
NOTING = 2.0
# Seconds until a connection that has gone silent is noticed with Pub/Sub.
SILENCE = 25.0
# Seconds after which a process that is silent may be taken out of its groups, at the earliest: its
# latest heartbeat may be 20 s old.
GONE = 40.0
# Seconds until it is back in them.
REJOIN = 20.0
# The messages that a killed process may have taken from a general channel, besides those that its
# readers waited for.
PREFETCH = 5
# Seconds until a call raises when the server is away: 5 for the call, and some for the machine.
PATIENCE = 12.0


@dataclass(frozen=True)
class Violation:
    """A promise that was not kept.

    Attributes:
        promise: Its name.
        at: When it was not.
        what: What happened.
    """

    promise: str
    at: float
    what: str


def check(history: History) -> list[Violation]:
    """Return all violations, in the order of their times."""
    case = _Case(history)
    found = [Violation(promise, *one) for promise, find in CHECKS for one in find(case)]
    return sorted(found, key=lambda violation: violation.at)


class _Case:
    """A history, and what several checks look up in it."""

    def __init__(self, history: History) -> None:
        self.history = history
        self.queue = history.layer == "queue"

    @cached_property
    def sends(self) -> dict[int, Send]:
        """The sends by the numbers of their messages."""
        return {send.id: send for send in self.history.sends}

    def successes(self, kind: str) -> list[Send]:
        """Return the sends of a kind whose call returned."""
        return [one for one in self.history.sends if one.outcome == OK and one.kind == kind]

    @cached_property
    def deliveries(self) -> list[tuple[Receipt, Send]]:
        """The receipts of what was sent, in order."""
        receipts = self.history.receipts
        return [(one, self.sends[one.id]) for one in receipts if one.id in self.sends]

    @cached_property
    def by_channel(self) -> dict[str, list[tuple[Receipt, Send]]]:
        """The same for each channel."""
        return _grouped(self.deliveries, lambda delivery: delivery[0].channel)

    @cached_property
    def received(self) -> set[tuple[int, str, str]]:
        """The receipts, by message, channel and process."""
        return {(receipt.id, receipt.channel, receipt.by) for receipt in self.history.receipts}

    @cached_property
    def channels(self) -> dict[str, list[Channel]]:
        """The channels by name; several processes may read a general one."""
        return _grouped(self.history.channels, lambda channel: channel.name)

    @cached_property
    def members(self) -> dict[str, list[Membership]]:
        """The memberships of each group."""
        return _grouped(self.history.memberships, lambda member: member.group)

    @cached_property
    def ends(self) -> dict[str, float]:
        """The times at which processes were killed."""
        return {fault.process: fault.begin for fault in self.history.faults if fault.killed}

    @cached_property
    def resets(self) -> list[Fault]:
        """The faults by which a server forgot something."""
        return [fault for fault in self.history.faults if fault.loses]

    def end_of(self, channel: Channel) -> float:
        """Return the time at which the last `receive` of a channel ends."""
        return min(channel.closed, self.ends.get(channel.by, math.inf), self.history.ended)

    def spans(self, wanted: Callable[[Fault], bool], after: float = 0.0) -> list[Span]:
        """Return the times of some faults, and of so many seconds after each."""
        faults = self.history.faults
        return [(fault.begin, fault.end + after) for fault in faults if wanted(fault)]

    def troubles(self, channel: Channel) -> list[Span]:
        """Return the times in which a message to a channel may be held up."""
        spans = self.spans(lambda fault: fault.process in {"", channel.by}, RECOVERY)
        return spans + self.pauses(channel)

    def busy(self, channel: Channel) -> list[Span]:
        """Return the times in which the consumer of a channel did something else."""
        name = (channel.by, channel.name)
        return [(one.at, one.at + one.seconds) for one in self._busy.get(name, ())]

    @cached_property
    def _busy(self) -> dict[tuple[str, str], list[Busy]]:
        return _grouped(self.history.busy, lambda busy: (busy.by, busy.channel))

    def pauses(self, *channels: Channel) -> list[Span]:
        """Return the times in which a message may wait for the consumers of channels."""
        spans = [span for channel in channels for span in self.busy(channel)]
        return [(begin, end + ARRIVAL) for begin, end in spans]

    def stops(self, process: str) -> list[Span]:
        """Return the times in which a process was stopped."""
        return self.spans(lambda fault: fault.process == process)

    def delays(self, process: str) -> list[Span]:
        """Return the times in which a process might not have read what had come."""
        return self.spans(lambda fault: fault.silent and fault.process in {"", process})

    def survives_until(self, send: Send) -> float:
        """Return the time at which the server may have forgotten a message."""
        return min(
            (
                reset.begin
                for reset in self.resets
                if send.begun <= reset.end and send.ended >= reset.since
            ),
            default=math.inf,
        )

    def deadline(self, send: Send) -> float:
        """Return the time until which a message has to be kept for its reader."""
        return min(send.begun + self.history.expiry, self.survives_until(send))


def _grouped(things: Iterable[T], key: Callable[[T], K]) -> dict[K, list[T]]:
    found: dict[K, list[T]] = defaultdict(list)
    for thing in things:
        found[key(thing)].append(thing)
    return found


def _strangers(case: _Case) -> Findings:
    """Find messages that were never sent, or to others."""
    for receipt in case.history.receipts:
        send = case.sends.get(receipt.id)
        if send is None:
            wrong = ", which was never sent"
        elif receipt.at < send.begun:
            wrong = " before it was sent"
        elif send.kind in {DIRECT, GENERAL} and send.to != receipt.channel:
            wrong = f", which was sent to {send.to}"
        else:
            continue
        yield receipt.at, f"{receipt.channel} got {receipt.id}{wrong}"


def _repetitions(case: _Case) -> Findings:
    """Find messages that came twice to who had them already."""
    seen: dict[tuple[int, str, str], Receipt] = {}
    for receipt, send in case.deliveries:
        general = send.kind == GENERAL
        # With Pub/Sub, each process gets what is sent to a general channel.
        reader = receipt.by if general and not case.queue else ""
        first = seen.setdefault((receipt.id, receipt.channel, reader), receipt)
        # Another worker can't know of it.
        back_in_time = general and any(
            first.at >= reset.since - NOTING and receipt.at >= reset.begin for reset in case.resets
        )
        if receipt is not first and not back_in_time:
            later = receipt.at - first.at
            yield receipt.at, f"{receipt.channel} got {receipt.id} again, {later:.3f} s later"


def _order(case: _Case) -> Findings:
    """Find messages of one sender that overtook each other."""
    for name, deliveries in case.by_channel.items():
        general = any(channel.general for channel in case.channels[name])
        if general and not _has_order(case, name):
            continue
        latest: dict[tuple[str, ...], Send] = {}
        for receipt, send in deliveries:
            # A call that raised may have left something on the way, which nothing else waits for.
            if send.outcome != OK:
                continue
            # Names of a Pub/Sub channel and of its groups may live on different hosts.
            apart = not case.queue and case.history.hosts > 1
            reader = receipt.by if general else ""
            key = (send.sender, reader, *([send.to] if apart else []))
            before = latest.setdefault(key, send)
            if before.begun > send.begun:
                yield receipt.at, f"{name} got {send.id} of {send.sender} after {before.id}"
            else:
                latest[key] = send


def _has_order(case: _Case, name: str) -> bool:
    """Return whether a general channel has an order that its readers' journals can show."""
    readers = case.channels[name]
    if any(reader.readers > 1 for reader in readers):
        return False  # They note in any order what they got in turn.
    return not case.queue or (case.history.hosts == 1 and len(readers) == 1)


def _late(case: _Case) -> Findings:
    """Find messages that were older than `expiry`, but for those of a history."""
    for receipt, send in case.deliveries:
        if send.outcome != OK or send.kind == RECOVERABLE:
            continue
        if overlaps(case.stops(receipt.by), receipt.at - NOTING, receipt.at):
            continue
        # Pub/Sub's messages have no date: their time begins when the process reads them.
        delays = () if case.queue else case.delays(receipt.by)
        ends = [end for begin, end in delays if begin < receipt.at]
        waited = receipt.at - max([send.ended, *ends])
        if waited > case.history.expiry + NOTING:
            took = receipt.at - send.ended
            yield receipt.at, f"{receipt.channel} got {send.id} after {took:.1f} s"


def _outsiders(case: _Case) -> Findings:
    """Find group messages that came to channels outside of the group."""
    by_member = _grouped(case.history.memberships, lambda member: (member.group, member.channel))
    for receipt, send in case.deliveries:
        if send.kind != GROUP:
            continue
        stays = by_member[send.to, receipt.channel]
        if not any(_may_serve(case, send, member) for member in stays):
            was = "which had left" if stays else "which was never a member"
            yield receipt.at, f"{receipt.channel}, {was}, got {send.id}, sent to {send.to}"


def _may_serve(case: _Case, send: Send, member: Membership) -> bool:
    """Return whether a message may come to a member: it was sent before the end of its stay.

    What was sent before `group_add` may come as well, if it was still on its way.
    """
    if send.outcome == OK and send.begun > member.left:
        return False
    if send.ended >= member.adding - ARRIVAL:
        return True
    return longest_gap(case.spans(bool, RECOVERY), send.ended, member.adding) < ARRIVAL


def _recipients(case: _Case, send: Send) -> Iterator[tuple[Channel, float]]:
    """Yield the channels that have to get a message, were nothing broken, and until when."""
    if send.kind == GENERAL:
        for reader in case.channels[send.to]:
            # The first receive subscribes, and nothing says when that is confirmed.
            if longest_gap(case.troubles(reader), reader.opened, send.begun) > ARRIVAL:
                yield reader, case.end_of(reader)
        return
    if send.kind == DIRECT:
        for channel in case.channels[send.to]:
            yield channel, case.end_of(channel)
        return
    for member in case.members[send.to]:
        if member.added < send.begun and member.leaving > send.ended:
            for channel in case.channels[member.channel]:
                # With Pub/Sub, what is on its way when `group_discard` is called may be missed.
                leaving = math.inf if case.queue else member.leaving
                yield channel, min(case.end_of(channel), leaving)


def _losses(case: _Case, *, kind: str) -> Findings:
    """Find messages of a kind that did not come to each channel that has to get them."""
    lost = _is_lost_in_queue if case.queue else _is_lost_in_pubsub
    for send in case.successes(kind):
        for channel, until in _recipients(case, send):
            if (send.id, channel.name, channel.by) in case.received:
                continue
            if lost(case, send, channel, until):
                who = f"{channel.name} of {channel.by}"
                yield send.begun, f"{who} never got {send.id}, sent to {send.to}"


def _is_lost_in_queue(case: _Case, send: Send, channel: Channel, until: float) -> bool:
    """Return whether there was time enough to receive a message."""
    if send.kind == GROUP and _is_membership_in_doubt(case, send, channel):
        return False
    until = min(case.deadline(send), until)
    return longest_gap(case.troubles(channel), send.ended, until) > ARRIVAL


def _is_membership_in_doubt(case: _Case, send: Send, channel: Channel) -> bool:
    """Return whether the server might not have known of a membership just then.

    It has forgotten it, or others have taken the process for dead.
    """
    forgotten = case.spans(lambda fault: fault.loses, RECOVERY)
    silent = [
        (begin + GONE, end + REJOIN)
        for begin, end in case.stops(channel.by)
        if end - begin > GONE and not math.isinf(end)
    ]
    return overlaps([*forgotten, *silent], send.begun, send.ended)


def _is_lost_in_pubsub(case: _Case, send: Send, channel: Channel, until: float) -> bool:
    """Return whether a message is missing without an outage that the channel was notified of."""
    if longest_gap(case.troubles(channel), send.ended, until) <= ARRIVAL:
        return False  # It may be on its way when its reader ends.
    if _is_stuck(case, send, channel):
        return False
    # Processes at either of two masters do not hear those at the other one.
    split = case.spans(lambda fault: fault.split)
    return not overlaps([*_outages(case, channel), *split], send.begun, send.ended)


def _is_stuck(case: _Case, send: Send, channel: Channel) -> bool:
    """Return whether a message expired before its reader came back to it."""
    stops = [(begin, end + ARRIVAL) for begin, end in case.stops(channel.by)]
    until = send.begun + case.history.expiry
    return longest_gap([*stops, *case.pauses(channel)], send.ended, until) < ARRIVAL


def _outages(case: _Case, channel: Channel) -> list[Span]:
    """Return the times in which a channel was notified that it may have missed something.

    An outage begins before it is noticed: at once if the connection was closed, and up to 25 s if
    it only fell silent. Its end is notified when all is there again.
    """
    spans = []
    begun: list[float] = []
    # Consumers are notified in turn; a busy one hears of it later than others of its process.
    for notice in case.history.notices:
        if notice.by != channel.by or notice.channel != channel.name:
            continue
        if notice.type == LOST:
            begun.append(notice.at)
        elif notice.type == BACK and begun:
            spans.append((begun.pop(0), notice.at))
    spans += [(at, math.inf) for at in begun]
    return [(begin - _unnoticed(case, channel, begin), end + NOTING) for begin, end in spans]


def _unnoticed(case: _Case, channel: Channel, noticed: float) -> float:
    """Return the seconds for which an outage may have gone on unnoticed."""
    silences = case.spans(lambda fault: fault.silent or fault.process == channel.by, SILENCE)
    busy = case.busy(channel)
    delays = [end - begin for begin, end in busy if begin <= noticed <= end + NOTING]
    seconds = NOTING + sum(delays)
    for begin, end in silences:
        if begin <= noticed <= end + NOTING:
            seconds = max(seconds, min(noticed - begin, SILENCE + end - begin) + NOTING)
    return seconds


def _general_losses(case: _Case) -> Findings:
    """Find messages to general channels that each reader has to get, or any with the queue."""
    if not case.queue:
        yield from _losses(case, kind=GENERAL)
        return
    taken: Counter[str] = Counter()
    lost: dict[str, list[Send]] = defaultdict(list)
    got = {receipt.id for receipt in case.history.receipts}
    for send in case.successes(GENERAL):
        if send.id in got:
            continue
        readers = case.channels[send.to]
        until = min(case.deadline(send), max(map(case.end_of, readers), default=-math.inf))
        spans = case.spans(bool, RECOVERY) + case.pauses(*readers)
        if longest_gap(spans, send.ended, until) > ARRIVAL:
            lost[send.to].append(send)
    for name in lost:
        for reader in case.channels[name]:
            if reader.by in case.ends and case.ends[reader.by] < reader.closed:
                taken[name] += reader.readers + PREFETCH
        for send in lost[name][taken[name] :]:
            yield send.begun, f"no reader got {send.id}, sent to {name}"


def _refused_but_arrived(case: _Case) -> Findings:
    """Find messages that arrived although their send had failed."""
    for receipt, send in case.deliveries:
        if send.outcome == FAILED and send.kind in {DIRECT, GENERAL}:
            yield receipt.at, f"{receipt.channel} got {send.id}, whose sender got {send.error}"


def _unfinished_outages(case: _Case) -> Findings:
    """Find channels that were notified of an outage, and not of its end."""
    balance: Counter[tuple[str, str]] = Counter()
    for notice in case.history.notices:
        if notice.type in {LOST, BACK}:
            balance[notice.by, notice.channel] += 1 if notice.type == LOST else -1
    for channel in case.history.channels:
        if balance[channel.by, channel.name] > 0 and case.end_of(channel) >= case.history.ended:
            who = f"{channel.name} of {channel.by}"
            yield case.history.ended, f"{who} was notified of the begin alone"


def _failures(case: _Case, *, receiving: bool) -> Findings:
    """Find exceptions out of `receive`, or other calls' that an absent server does not explain."""
    for failure in case.history.failures:
        if (failure.call == "receive") == receiving:
            call = f"{failure.call} of {failure.channel} in {failure.by}"
            yield failure.at, f"{call}: {failure.error}"


def _endless_calls(case: _Case) -> Findings:
    """Find calls that took longer than a call may while the server is away, or never ended."""
    for send in case.history.sends:
        until = min(send.ended, case.ends.get(send.by, math.inf), case.history.ended)
        # The time in which its process did not run does not count.
        stopped = sum(
            max(0.0, min(end, until) - max(begin, send.begun)) for begin, end in case.stops(send.by)
        )
        took = until - send.begun - stopped
        # The queue layer makes two calls for a group with a history.
        calls = 2 if case.queue and send.kind == RECOVERABLE else 1
        if took > calls * PATIENCE:
            yield send.begun, f"the call that sends {send.id} to {send.to} took {took:.1f} s"


def _standstill(case: _Case) -> Findings:
    """Find messages that did not flow as always, ten seconds after the last fault."""
    history = case.history
    for send in history.sends:
        if send.outcome != OK and history.healed + RECOVERY <= send.begun <= history.stopped:
            why = send.error or "it never ended"
            yield send.begun, f"sending {send.id} to {send.to} failed: {why}"
    for receipt, send in case.deliveries:
        if send.outcome != OK or send.begun < history.healed + RECOVERY:
            continue
        pauses = case.pauses(*case.channels[receipt.channel])
        if longest_gap(pauses, send.ended, receipt.at) > RECOVERY:
            took = receipt.at - send.ended
            yield send.begun, f"{receipt.channel} got {send.id} only after {took:.1f} s"


def _silent_losses(case: _Case) -> Findings:
    """Find what browsers of groups with a history missed without a notice of a gap."""
    for name, events in _grouped(case.history.browsers, lambda event: event.browser).items():
        connected = next((event for event in events if event.kind == "connected"), None)
        if connected is None:
            continue
        shown = case.by_channel[name]
        seen = {send.id for _, send in shown}
        gaps = [
            event.at
            for event in events
            if event.kind == "told" or (event.kind == "connected" and not event.recovered)
        ]
        stays = events[-1].kind not in {"disconnect", "connect"}
        for send in case.successes(RECOVERABLE):
            if send.to != connected.group or send.begun < connected.at or send.id in seen:
                continue
            # A server forgot it with its position, so that none could know of it.
            if not math.isinf(case.survives_until(send)):
                continue
            # Those that are certainly before and after it in the history.
            before = [one.at for one, its_send in shown if its_send.ended < send.begun]
            after = [one.at for one, its_send in shown if its_send.begun > send.ended]
            if not after and not (stays and send.ended + ARRIVAL < case.history.ended):
                continue  # the browser has not come back, or not for long enough
            begin = max(before, default=connected.at)
            end = min(after, default=case.history.ended)
            if not any(begin <= gap <= end for gap in gaps):
                yield send.begun, f"{name} missed {send.id} to {send.to}, and was not notified"


CHECKS: tuple[tuple[str, Callable[[_Case], Findings]], ...] = (
    ("only what was sent to it", _strangers),
    ("never twice", _repetitions),
    ("order of each sender", _order),
    ("never late", _late),
    ("members alone", _outsiders),
    ("members exactly once", partial(_losses, kind=GROUP)),
    ("nothing lost", partial(_losses, kind=DIRECT)),
    ("nothing lost", _general_losses),
    ("refused is not sent", _refused_but_arrived),
    ("each outage ends", _unfinished_outages),
    ("no exception out of receive", partial(_failures, receiving=True)),
    ("errors of the server alone", partial(_failures, receiving=False)),
    ("send raises after 5 s", _endless_calls),
    ("everything flows after 10 s", _standstill),
    ("nothing lost in silence", _silent_losses),
)


def counts(violations: Iterable[Violation]) -> dict[str, int]:
    """Return how often each promise was not kept."""
    return dict(Counter(violation.promise for violation in violations))
