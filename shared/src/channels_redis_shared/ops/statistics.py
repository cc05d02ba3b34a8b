"""What a layer has done and has in this process, in numbers."""

from __future__ import annotations

from dataclasses import dataclass, field


class Counters:
    """Counts what happens, in plain ints: nothing here may cost a message any time."""

    __slots__ = (
        "broadcasts",
        "commands",
        "expired",
        "over_capacity",
        "received",
        "reconnects",
        "round_trips",
        "sent",
        "undecodable",
    )

    def __init__(self) -> None:
        self.sent = 0
        self.received = 0
        self.broadcasts = 0
        self.over_capacity = 0
        self.expired = 0
        self.undecodable = 0
        self.reconnects = 0
        self.commands = 0
        self.round_trips = 0


@dataclass(frozen=True)
class Dropped:
    """Messages that this process saw dropped, by reason.

    Attributes:
        capacity: Not added, as many waited as the channel's capacity: `send` raised `ChannelFull`,
            or `group_send` passed a member by, each member counted. Always 0 with Pub/Sub.
        expired: Not read within `expiry` seconds. What expires in Redis before a process has it is
            counted nowhere.
        undecodable: No message of this layer, or encrypted with another key.
        mailbox_full: The oldest of a channel whose consumer is too slow, for lack of room.
    """

    capacity: int = 0
    expired: int = 0
    undecodable: int = 0
    mailbox_full: int = 0


@dataclass(frozen=True)
class Statistics:
    """What a layer has done in this process since it was made, and what it has now.

    Attributes:
        sent: Calls of `send` and `group_send` that the server accepted.
        received: Messages that `receive` returned, notices of outages included.
        dropped: Messages that were dropped, by reason.
        reconnects: Connections that took the place of a lost one.
        outage_seconds: How long this process could not receive from some host, all outages and
            hosts added up, one that lasts included.
        mailboxes: Channels of this process that have messages or a waiting `receive`.
        waiting: Messages in this process that were not received yet.
        groups: Groups with members in this process.
        commands: Commands sent, besides those that wait for messages or subscribe. What was
            written together with others in one call of a script counts on its own.
        round_trips: Writes that they went out in.
        broadcasts: Messages that went straight to a WebSocket, each socket counted; see
            `broadcast`. `received` does not count them.
    """

    sent: int
    received: int
    dropped: Dropped = field(default_factory=Dropped)
    reconnects: int = 0
    outage_seconds: float = 0.0
    mailboxes: int = 0
    waiting: int = 0
    groups: int = 0
    commands: int = 0
    round_trips: int = 0
    broadcasts: int = 0

    @property
    def commands_per_round_trip(self) -> float:
        """How many commands shared a write on average; 0.0 if there was none."""
        return self.commands / self.round_trips if self.round_trips else 0.0
