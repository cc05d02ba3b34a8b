"""Each public name and option stays where users find it, and none appears unnoticed.

public_names.txt lists them as one writes them, with the arguments of functions. After a change that
is meant: ``python tests/meta/test_public_names.py > tests/meta/public_names.txt``, in the
environment of the tests.
"""

from __future__ import annotations

import inspect
import re
import sys
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from channels_redis_pubsub import RedisPubSubChannelLayer
from channels_redis_pubsub.presence import Presence as PubSubPresence
from channels_redis_queue import Dropped, History, Joined, RedisChannelLayer, Statistics
from channels_redis_queue.presence import Presence
from channels_redis_queue.serializers import JSONSerializer, MsgPackSerializer

if TYPE_CHECKING:
    from collections.abc import Iterator

HERE = Path(__file__).parent
SOURCES = sorted((HERE.parents[1] / "packages").glob("*/src"))
# For the commands of the packages.
INTERNAL_MODULES = {"channels_redis_pubsub.doctor", "channels_redis_queue.doctor"}
# For `Presence` and `Broadcasts`, not for users.
INTERNAL = {
    *("attach_sink", "key_shards", "knows_channel"),
    *("on_channels_ended", "presence_key_head", "spawn"),
}
# Classes whose objects have more attributes, with arguments to make one.
MADE: dict[type, dict[str, Any]] = {
    Dropped: {},
    History: {"messages": [], "position": "", "recovered": True},
    JSONSerializer: {},
    Joined: {"position": "", "recovered": True},
    MsgPackSerializer: {},
    Presence: {},
    PubSubPresence: {},
    RedisChannelLayer: {},
    RedisPubSubChannelLayer: {},
    Statistics: {"sent": 0, "received": 0},
}


def public_names() -> Iterator[str]:
    """Yield the modules that say what they export, and what these export, with its members.

    Members stand where something is exported first.
    """
    seen: set[type] = set()
    for source in SOURCES:
        for file in sorted([*source.glob("*/__init__.py"), *source.glob("*/[a-z]*.py")]):
            name = ".".join(file.relative_to(source).with_suffix("").parts)
            name = name.removesuffix(".__init__")
            exports = re.search(r"^__all__\b", file.read_text(encoding="utf-8"), re.MULTILINE)
            if exports and name not in INTERNAL_MODULES:
                module = import_module(name)
                yield name
                for exported in sorted(module.__all__):
                    yield from described(exported, getattr(module, exported), seen)


def described(name: str, found: Any, seen: set[type]) -> Iterator[str]:
    """Yield a line for a name, and for each public member of a class or object of ours."""
    cls = found if isinstance(found, type) else type(found)
    ours = [base for base in cls.__mro__ if base.__module__.startswith("channels_redis")]
    yield f"  {name}{arguments(found) if ours else ''}"
    if cls not in seen:
        seen.add(cls)
        members = {member for base in ours for member in vars(base)}
        members |= set(getattr(cls(**MADE[cls]), "__dict__", ())) if cls in MADE else set()
        for member in sorted(members - INTERNAL):
            if not member.startswith("_"):
                static = inspect.getattr_static(cls, member, None)
                yield f"    .{member}{arguments(static) if inspect.isfunction(static) else ''}"


def arguments(function: Any) -> str:
    """Return the arguments of a function or class as one writes them, without types."""
    try:
        signature = inspect.signature(function)
    except (TypeError, ValueError):
        return ""
    bare = [
        each.replace(annotation=each.empty)
        for each in signature.parameters.values()
        if each.name != "self"
    ]
    return str(signature.replace(parameters=bare, return_annotation=signature.empty))


def test_names() -> None:
    """They are those of the list."""
    listed = (HERE / "public_names.txt").read_text(encoding="utf-8").splitlines()
    assert list(public_names()) == listed


@pytest.mark.parametrize("layer", [RedisChannelLayer, RedisPubSubChannelLayer])
def test_layer_has_its_attributes(layer: Any) -> None:
    """Code that has a layer finds its extensions and settings on it."""
    made = layer(prefix="site-", capacity=7)
    assert {"groups", "flush"} <= set(made.extensions)
    assert (made.prefix, made.capacity) == ("site-", 7)


if __name__ == "__main__":
    sys.stdout.write("\n".join([*public_names(), ""]))
