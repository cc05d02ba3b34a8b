"""What the commands need to know of a layer's package."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping, Sequence

    from ..transport.commands import Command
    from ..transport.connector import Connector


@dataclass(frozen=True)
class Need:
    """A command that a layer sends, with arguments that do no harm."""

    command: Command
    # What does not work without it; empty: nothing does.
    only_for: str = ""


@dataclass(frozen=True)
class GroupRow:
    """A group, as seen from outside."""

    name: str
    # Processes that have members in it. Plain names count as one each.
    processes: int
    # None where the server can't tell.
    members: int | None


@dataclass(frozen=True)
class Overview:
    """What a layer has on its servers."""

    # Waiting messages of each channel; None where none ever wait.
    channels: Mapping[str, int | None]
    # All groups, and the largest of them.
    groups: int
    largest_groups: Sequence[GroupRow] = field(default=())
    # Keys, or Redis channels, with the layer's prefix and a name or type that it never makes.
    foreign: int = 0


@dataclass(frozen=True)
class Subject:
    """A layer's package.

    Attributes:
        package: Its import name.
        layer: Its class of layers.
        stores: Whether messages wait in Redis, in keys.
        clients: The class of clients, in the server's words, that messages are sent to.
        connectors: Returns what opens connections to the hosts of a layer, in their order.
        needs: Returns the commands that a layer sends. Its second argument makes names unique.
        overview: Returns what a layer has on its servers, with at most so many groups in full.
    """

    package: str
    layer: type[Any]
    stores: bool
    clients: str
    connectors: Callable[[Any], Sequence[Connector]]
    needs: Callable[[Any, str], Sequence[Need]]
    overview: Callable[[Any, int], Awaitable[Overview]]

    @property
    def distribution(self) -> str:
        """The name that it is installed by."""
        return self.package.replace("_", "-")


@dataclass(frozen=True)
class Examined:
    """A layer to look at.

    Attributes:
        title: What it is called.
        layer: The layer.
        config: Its options.
    """

    title: str
    layer: Any
    config: Mapping[str, Any]
