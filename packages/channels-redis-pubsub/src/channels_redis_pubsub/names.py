"""Names on the wire: of new channels and of groups. `channels_redis` shares them."""

from __future__ import annotations

import secrets


def new_channel(prefix: str, kind: str) -> str:
    """Return a new channel's name: the layer's prefix, the caller's, and 32 random hex digits."""
    return f"{prefix}{kind}{secrets.token_hex(16)}"


def of_groups(prefix: str) -> str:
    """Return what the Redis channel of a group begins with; its name follows.

    The Redis channel of a channel has the channel's own name.
    """
    return f"{prefix}__group__"
