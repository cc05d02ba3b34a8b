"""The layers that the contract is checked on, their environments and their servers."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from benchmarks.survey.contenders import CONTENDERS, Contender
from conformance.capabilities import Capability
from conformance.variants import MEMORY

if TYPE_CHECKING:
    from collections.abc import Mapping

# The options that the tests give to layers, and most layers take.
OPTIONS = frozenset(
    {
        "capacity",
        "channel_capacity",
        "expiry",
        "group_expiry",
        "prefix",
        "symmetric_encryption_keys",
    }
)
IN_MEMORY_OPTIONS = frozenset({"capacity", "channel_capacity", "expiry", "group_expiry"})
OUR_OPTIONS = OPTIONS | {"history", "mailbox_bytes", "on_gap", "on_overflow"}


@dataclass(frozen=True)
class Layer(Contender):
    """A channel layer as its users install it.

    Attributes:
        options: The options of the tests that its constructor takes.
        python: The Python that its newest release needs, if an older one would do for the tests.
        unmeasured: The capabilities that the tests can't show, each with the reason.
    """

    options: frozenset[str] = OPTIONS
    python: str = ""
    unmeasured: Mapping[Capability, str] = field(default_factory=dict)


def of_survey(name: str, **more: Any) -> Layer:
    """Take a layer over from the benchmarks."""
    return Layer(**{**vars(CONTENDERS[name]), **more})


LAYERS = {
    layer.name: layer
    for layer in (
        of_survey("queue", options=OUR_OPTIONS),
        of_survey("pubsub", options=OUR_OPTIONS),
        Layer(
            "memory",
            "Channels, in memory",
            MEMORY,
            ("channels",),
            ("channels",),
            server="",
            options=IN_MEMORY_OPTIONS,
            unmeasured={Capability.PROCESSES: "it lives in one process, by design"},
        ),
        of_survey("queue-4.3"),
        of_survey("pubsub-4.3", requirements=CONTENDERS["queue-4.3"].requirements),
        Layer(
            "valkey",
            "channels-valkey, core",
            "channels_valkey.core.ValkeyChannelLayer",
            ("channels-valkey", "cryptography"),
            ("channels-valkey", "valkey"),
        ),
        Layer(
            "valkey-pubsub",
            "channels-valkey, pubsub",
            "channels_valkey.pubsub.ValkeyPubSubChannelLayer",
            ("channels-valkey", "cryptography"),
            ("channels-valkey", "valkey"),
        ),
        of_survey("nats", options=OPTIONS - {"symmetric_encryption_keys"}, python="3.13"),
    )
}
