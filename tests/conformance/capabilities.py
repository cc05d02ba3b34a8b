"""Capabilities that tests require and not every layer has."""

from __future__ import annotations

from enum import Enum

import pytest


class Capability(Enum):
    """One thing that a layer can do. A variant names the ones it lacks, with the reason."""

    CAPACITY = "send refuses with ChannelFull when a channel holds its capacity"
    CAPACITY_PATTERNS = "channel_capacity holds globs and compiled patterns"
    CHECKED_MESSAGES = "a message that cannot be sent is refused with an error that says why"
    CHECKED_READER = "receive refuses a channel that belongs to another process"
    BYTES = "a message may hold byte strings"
    ENCRYPTION = "messages are encrypted when the layer is given keys"
    EXACT_NAMES = "a name that ends in a newline is refused"
    EXCLUDE = "group_send leaves out the channels that exclude names"
    EXCEPTIONS = "the layer has the exceptions it raises as attributes"
    EXPIRY = "an unread message expires, and no longer counts"
    FOREIGN_MEMBERS = "a group may be joined on behalf of another process's channel"
    GENERAL_MEMBERS = "a general channel can be a member of a group"
    GROUP_EXPIRY = "a membership ends group_expiry seconds after the latest group_add"
    HISTORY = "groups keep a history, from which members get what they have missed"
    LAST_WORDS = "what was sent to a group before a channel left it still reaches the channel"
    LISTENERS_ALL = "a message to a general channel reaches every process that receives from it"
    LISTENERS_ONE = "a message to a general channel reaches one of its receivers"
    LOOPS = "a channel outlives the event loop that it was made in"
    MANY_RECEIVERS = "several tasks may receive from one channel"
    NOTHING_BEFORE_JOINING = "a new member gets nothing that its group was sent before"
    ONE_LOOP = "receive refuses a channel of an event loop that goes on in another thread"
    ORDER_BETWEEN_DIRECT_AND_GROUP = "a channel's direct and group messages stay in order"
    ORDER_OF_GENERAL = "a general channel keeps the order of one sender"
    OVERFLOW = "a consumer that is stuck harms itself alone, and learns what it lost"
    OTHER_PREFIXES = "layers with another prefix may use the same servers"
    PREFIXED_CHANNELS = "layers with different prefixes share no channel, whatever its name"
    PROCESSES = "layers in several processes reach each other"
    QUEUE = "a message waits for any later receiver"
    RESERVED_KEYS = "a key that the layer itself uses is refused in a message"
    SHARED_CAPACITY = "the channels of a process are full together"
    SERIALIZED = "a receiver gets what was written on the wire, and so its own copy"


def needs(*capabilities: Capability) -> pytest.MarkDecorator:
    """Mark a test that only layers with these capabilities can pass."""
    return pytest.mark.needs(*capabilities)
