"""The promises of a channel layer, each with the sentence that makes it.

The sentences are quoted from Channels' specification of channel layers, whose text is in the public
domain: https://channels.readthedocs.io/en/stable/channel_layer_spec.html. What our layers promise
beyond it is marked so.
"""

from __future__ import annotations

from enum import Enum

import pytest


class Promise(Enum):
    """A promise, whose value is its sentence; the promises of each force are a class."""


class Required(Promise):
    """Of every layer."""

    MESSAGE_TYPES = (
        "they are only allowed to contain the following types: byte strings, unicode strings, "
        "integers (within the signed 64 bit range), floating point numbers, lists (tuples should "
        "be encoded as lists), dicts, booleans, None"
    )
    MEGABYTE = "All channel layers must support messages up to this size [1MB]"
    FIRST_IN_FIRST_OUT = (
        "Preserve ordering of messages perfectly with only a single reader and writer if the "
        "channel is a single-reader or process-specific channel"
    )
    QUEUE = "Channels are a first-in, first out queue with at-most-once delivery semantics"
    ONE_READER = (
        "multiple writers and multiple readers; only a single reader should get each written "
        "message"
    )
    ONCE = "Never deliver a message more than once"
    ALMOST_ALL = "a success rate of at least 99.99% is expected under normal circumstances"
    NEVER_BLOCK = (
        "Never block on message send (though they may raise ChannelFull or MessageTooLarge)"
    )
    PROCESSES = "They allow inter-process communication between different processes"
    NEW_CHANNEL = (
        "new_channel(), which returns a new process-specific channel that can be used to give to "
        "a local coroutine or receiver"
    )
    NAMES = "ASCII letters, the digits 0 through 9, hyphen, underscore, period"
    SYNCHRONOUS = (
        "End-users will be able to achieve synchronous versions using the "
        "asgiref.sync.async_to_sync wrapper"
    )
    ATTRIBUTES = "an object with these attributes: MessageTooLarge, ChannelFull, extensions"
    APPLICATIONS = (
        "This spec defines what Channels and applications written using it expect a channel layer "
        "to provide"
    )
    SHARED_CAPACITY = (
        'capacity is shared among all of the "virtual" channels inside it [a process-local '
        "channel's non-local part]"
    )


class Extensions(Promise):
    """Of layers that offer groups and flush."""

    GROUP_ADD = (
        "adds it to the group given by group. If the channel is already in the group, the "
        "function should return normally"
    )
    GROUP_DISCARD = "removes the channel from the group if it is in it, and does nothing otherwise"
    GROUP_SEND = "Allows grouping of channels to allow broadcast"
    GROUP_SEND_NEVER_FULL = (
        "Sending to a group never raises ChannelFull; instead, it must silently drop the message "
        "if it is over capacity"
    )
    GROUP_EXPIRY = (
        "Channel layers must also drop group membership after a configurable long timeout after "
        "the most recent group_add call for that membership"
    )
    FLUSH = (
        "flush(), that resets the channel layer to a blank state, containing no messages and no "
        "groups"
    )


class Advice(Promise):
    """Recommended by the specification, or left to the layer."""

    EXPIRY = "Messages should expire after a set time sitting unread in a channel"
    CAPACITY = (
        "When a channel is at or over capacity, trying to send() to that channel may raise "
        "ChannelFull"
    )
    CAPACITY_BY_NAME = (
        "it is recommended that it is configurable by the user, and furthermore configurable per "
        "channel name or name prefix"
    )
    FAIRNESS = (
        "it should try to avoid a scenario where a message doesn't get received purely because "
        "another channel is busy"
    )


class Beyond(Promise):
    """Of our layers, beyond the specification."""

    EXTENSIONS = "the layer offers both extensions"
    LISTENERS = "a message to a general channel reaches every process that listens"
    LEAVING = "what a group was sent before a channel left still reaches it"
    JOINING = "a new member gets nothing that its group was sent before"
    FOREIGN_CHANNELS = "a process may add the channel of another process to a group, and remove it"
    MORE_TYPES = "unsigned integers of 64 bits, msgpack's own types, messages of 2 MB"
    OWN_COPY = "a message belongs to its receiver alone, and stays its sender's"
    REFUSALS = (
        "what is invalid is refused as our documentation says: by a TypeError or ValueError that "
        "says what to write"
    )
    RECEIVERS = "receivers are served in the order of waiting"
    PREFIXES = "layers with different prefixes share a server, and nothing else"
    OWN_CAPACITY = "a full channel leaves room for the other channels of its process"
    LOOPS = "a layer works in each event loop, and ends cleanly in each"
    OVERFLOW = "a consumer that is stuck harms only itself, and gets a notice"
    ENCRYPTION = "messages are encrypted, with keys that can be exchanged"
    HISTORY = "groups keep a history, from which members get what they have missed"
    EXCLUDE = "group_send leaves out the channels that exclude names"


FORCES: dict[str, type[Promise]] = {
    "Required": Required,
    "The extensions for groups and flush": Extensions,
    "Recommended or optional": Advice,
    "Beyond the specification": Beyond,
}


def checks(promise: Promise) -> pytest.MarkDecorator:
    """Mark a test with the promise that it checks."""
    return pytest.mark.promise(promise)
