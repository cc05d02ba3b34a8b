"""The statistics of a layer in this process."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(slots=True)
class Counters:
    """Plain int counters of a process, cheap enough to count each message.

    The fields are described in `Statistics` and `Dropped`.
    """

    sent: int = 0
    received: int = 0
    broadcasts: int = 0
    replayed: int = 0
    unrecovered: int = 0
    capacity: int = 0
    expired: int = 0
    undecodable: int = 0
    mailbox_full: int = 0
    reconnects: int = 0
    commands: int = 0
    round_trips: int = 0


@dataclass(frozen=True)
class Dropped:
    """The number of messages that this process dropped, by reason.

    Attributes:
        capacity: The channel was full: `send` raised `ChannelFull`, or `group_send` skipped a
            member; each member counts. Always 0 with Pub/Sub.
        expired: Not received within `expiry` seconds. Messages that expire in Redis, before a
            process takes them, are not counted.
        undecodable: Not a message of this layer, or encrypted with another key.
        mailbox_full: The oldest messages of channels whose consumers are too slow.
    """

    capacity: int = 0
    expired: int = 0
    undecodable: int = 0
    mailbox_full: int = 0


@dataclass(frozen=True)
class Statistics:
    """The counts of a layer in this process since it was constructed, and its present state.

    Attributes:
        sent: Calls of `send` and `group_send` that the server accepted.
        received: Messages that `receive` returned, including notices of outages.
        dropped: Messages that were dropped, by reason.
        reconnects: Connections that replaced a lost one.
        outage_seconds: Seconds in which this process could not receive from a host, in total over
            all hosts and outages, including a present one.
        mailboxes: Channels of this process that have messages or a waiting `receive`.
        waiting: Messages in this process that have not been received yet.
        groups: Groups with members in this process.
        commands: Commands sent, except those that wait for messages or subscribe. Each command that
            shares a call of a script with others counts.
        round_trips: Writes of these commands to a connection.
        broadcasts: Messages written straight to a WebSocket; each socket counts. See `broadcast`.
            `received` does not include them.
        replayed: Messages read from the history of a group, for all its members in this process or
            for a channel that joined with `since` or `rewind`.
        unrecovered: Times at which the history no longer had what was missing: each was logged or
            announced with `on_gap`, or a `group_add` has returned `recovered=False`.
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
    replayed: int = 0
    unrecovered: int = 0

    @property
    def commands_per_round_trip(self) -> float:
        """The average number of commands in a write; 0.0 before the first."""
        return self.commands / self.round_trips if self.round_trips else 0.0
