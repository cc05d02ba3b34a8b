"""Names in Redis: of keys, processes and virtual channels. `channels_redis` shares some of them."""

from __future__ import annotations

import functools
import re
import secrets

from ._shared.transport.commands import shard_of

# The index of the digit that marks ids of channels_redis: in a uuid4 it is always a 4.
_VERSION_DIGIT = 12
_GROUP_MARK = ":g:"
# The names that Channels allows for groups and general channels.
_NAME = r"[a-zA-Z\d\-_.]{1,99}"
# The field of a message that names the channels it is for.
CHANNELS_FIELD = "__asgi_channel__"
# The field of a group message that is for the members behind the virtual channel of its key.
GROUP_FIELD = "__asgi_group__"
# The field of a message that ends a membership of the channel that it is for.
LEAVE_FIELD = "__asgi_leave__"


def new_process_id() -> str:
    """Return 16 random hex digits that no `channels_redis` process can have."""
    # Few: each call names two keys of each process that it sends to.
    digits = secrets.token_hex(8)
    return f"{digits[:_VERSION_DIGIT]}c{digits[_VERSION_DIGIT + 1 :]}"


def new_channel(address: str, shards: int) -> str:
    """Return the name of a new channel at an address, on the same shard as the address.

    `channels_redis` processes send to the shard of the whole name, and this reads that of the
    address.
    """
    while True:
        channel = f"{address}{secrets.token_hex(16)}"
        if shards == 1 or shard_of(channel, shards) == shard_of(address, shards):
            return channel


def non_local(channel: str) -> str:
    """Return the part up to and including the `!`, or the whole name of a general channel."""
    return channel[: channel.find("!") + 1] or channel


def local(channel: str) -> str:
    """Return the part behind the `!` of a process-specific channel."""
    return channel.partition("!")[2]


def process_of(channel: str) -> str | None:
    """Return the id of the process that a channel belongs to; None for a general one."""
    head, mark, _ = channel.partition("!")
    return head.rpartition(".")[2] if mark else None


def is_of_this_layer(process: str) -> bool:
    """Return whether a process runs this layer, not `channels_redis`, which has no bells."""
    return process[_VERSION_DIGIT : _VERSION_DIGIT + 1] != "4"


def is_in_this_layer(channel: str) -> bool:
    """Return whether a channel's process runs this layer; False for a general channel."""
    process = process_of(channel)
    return process is not None and is_of_this_layer(process)


def virtual_channel(address: str, group: str) -> str:
    """Return the name that stands for all local members that a group has at an address.

    Args:
        address: The part up to and including the `!` that the members' names share.
        group: The group. No message can be sent to the result: channels have no colon.
    """
    return f"{address}{_GROUP_MARK}{group}"


def virtual_of(channel: str, group: str) -> str:
    """Return the virtual channel that stands for a channel of this process in a group."""
    return virtual_channel(non_local(channel), group)


def is_virtual(name: str) -> bool:
    """Return whether a name is a virtual channel."""
    return _GROUP_MARK in name


def group_of(virtual: str) -> str:
    """Return the group of a virtual channel."""
    return virtual.partition(_GROUP_MARK)[2]


def address_of(virtual: str) -> str:
    """Return the address of the members behind a virtual channel."""
    return virtual.partition(_GROUP_MARK)[0]


class QueueKeys:
    """A message key and the keys that belong to it, all in one slot of a Redis Cluster.

    Args:
        key: The message key.
        head: Begins the names of the other keys.
        tail: Ends them.
        has_bell: Whether its reader waits for a bell. Those of channels_redis wait for the message.
    """

    __slots__ = ("_head", "_tail", "bell", "heartbeat", "key")

    def __init__(self, key: str, head: str, tail: str, *, has_bell: bool) -> None:
        self._head, self._tail = head, tail
        self.key = key
        # The key that wakes the reader; the message key itself if that does.
        self.bell = f"{head}$bell{tail}" if has_bell else key
        # The latest heartbeat of the process, once it has had members in groups.
        self.heartbeat = f"{head}$alive{tail}"

    def claims(self, reader: str) -> str:
        """Return the key of the messages that a reader has taken and not yet acknowledged."""
        return f"{self._head}$claims.{reader}{self._tail}"

    def nudge(self, reader: str) -> str:
        """Return the key that wakes a reader without a message."""
        return f"{self._head}$nudge.{reader}{self._tail}"


class Keys:
    """The keys of a layer.

    Args:
        prefix: Begins every key. It has no braces, or a valid hash tag.
    """

    def __init__(self, prefix: str) -> None:
        self.prefix = prefix
        self._tagged = "{" in prefix
        head = re.escape(prefix)
        self._address = re.compile(rf"{head}({_NAME}!?)")
        self._group = re.compile(rf"{head}:group:({_NAME})")
        # channels_redis 4 itself has one key with a message key's name; with a hash tag in the
        # prefix, all other keys of this layer have such names.
        suffix = r"\$.+" if self._tagged else r"\$inflight"
        self._any = re.compile(rf"{head}(\$.+|(:group:{_NAME}|{_NAME}!?)({suffix})?)")
        # Used with every message.
        self.messages = functools.lru_cache(maxsize=4096)(self._messages)
        # Thousands of channels join one group after a server was restarted.
        self.members = functools.lru_cache(maxsize=4096)(self._members)

    def _messages(self, address: str) -> QueueKeys:
        """Return the keys of a general channel or of a process."""
        key = self.prefix + address
        process = process_of(address)
        has_bell = process is None or is_of_this_layer(process)
        if self._tagged:
            return QueueKeys(key, key, "", has_bell=has_bell)
        # A hash tag that is the message key: the same slot as its own, since it has no brace.
        return QueueKeys(key, self.prefix, f"{{{key}}}", has_bell=has_bell)

    def group(self, group: str) -> str:
        """Return the key of a group's members."""
        return f"{self.prefix}:group:{group}"

    def _members(self, virtual: str) -> str:
        """Return the key of the members behind a virtual channel, by their parts behind the `!`.

        In a Cluster it is in the slot of the group.
        """
        address, group = address_of(virtual), self.group(group_of(virtual))
        if self._tagged:
            return f"{group}$members.{address}"
        return f"{self.prefix}$members.{address}{{{group}}}"

    def address_in(self, key: str) -> str | None:
        """Return the address of a message key; None for any other key."""
        found = self._address.fullmatch(key)
        return found and found[1]

    def group_in(self, key: str) -> str | None:
        """Return the group of a group key; None for any other key."""
        found = self._group.fullmatch(key)
        return found and found[1]

    def owns(self, key: str) -> bool:
        """Return whether a key has the form of one of the layer, not only its prefix."""
        return self._any.fullmatch(key) is not None

    def pattern(self) -> str:
        """Return the SCAN pattern of the prefix, each character standing for itself."""
        escaped = "".join(f"\\{c}" if c in "*?[]\\^-" else c for c in self.prefix)
        return f"{escaped}*"
