"""Each public name and option stays where users find it, and none appears unnoticed.

public_names.txt lists them as one writes them, with the arguments of functions. After a change that
is meant: ``python tests/meta/test_public_names.py > tests/meta/public_names.txt``, in the
environment of the tests.
"""

from __future__ import annotations

import inspect
import sys
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator

LISTED = Path(__file__).parent / "public_names.txt"
LAYERS = ("channels_redis_pubsub", "channels_redis_queue")
SUBMODULES = ("", ".broadcast", ".presence", ".serializers")
MODULES = (
    *(f"channels_redis{name}" for name in (*SUBMODULES, ".core", ".pubsub")),
    *(f"{layer}{name}" for layer in LAYERS for name in SUBMODULES),
)
# For `Presence` and `Broadcasts`, not for users.
INTERNAL = {
    *("attach_sink", "key_shards", "knows_channel"),
    *("on_channels_ended", "presence_key_head", "spawn"),
}


def public_names() -> Iterator[str]:
    """Yield the modules and what they export; members where a class is exported first."""
    seen: set[type] = set()
    for module in map(import_module, sorted(MODULES)):
        yield module.__name__
        for name in sorted(module.__all__):
            found = getattr(module, name)
            cls = found if isinstance(found, type) else type(found)
            ours = [base for base in cls.__mro__ if base.__module__.startswith("channels_redis")]
            yield f"  {name}{arguments(found) if ours else ''}"
            members: dict[str, Any] = {}
            for base in () if cls in seen else reversed(ours):
                members.update(vars(base))
            seen.add(cls)
            for member in sorted(members.keys() - INTERNAL):
                if not member.startswith("_"):
                    yield f"    .{member}{arguments(members[member])}"


def arguments(function: Any) -> str:
    """The arguments of a function or class as one writes them, without types."""
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
    assert list(public_names()) == LISTED.read_text(encoding="utf-8").splitlines()


if __name__ == "__main__":
    sys.stdout.write("\n".join([*public_names(), ""]))
