from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest

from support.fleet import OURS, SCRIPT, Process
from support.waiting import eventually

if TYPE_CHECKING:
    from conftest import RunProcess
    from embedded_server import EmbeddedServer
    from support.cluster import EmbeddedCluster

MESSAGES = 10


def numbered(source: str) -> list[dict[str, Any]]:
    """Return messages that name their source."""
    return [{"type": "x", "source": source, "number": number} for number in range(MESSAGES)]


@pytest.mark.parametrize(
    ("layer", "options"),
    [("queue", {}), ("pubsub", {}), ("pubsub", {"sharded_pubsub": True})],
    ids=["queue", "pubsub", "pubsub-sharded"],
)
@pytest.mark.parametrize("mixed", [False, True], ids=["alone", "beside a server"])
async def test_fifty_consumers_in_two_processes(
    layer: str,
    options: dict[str, Any],
    mixed: bool,  # noqa: FBT001
    redis_cluster: EmbeddedCluster,
    redis_server: EmbeddedServer,
    prefix: str,
    run_process: RunProcess,
) -> None:
    """All direct and group messages arrive once, in each sender's order.

    A cluster is one shard, whether it is the only one or there is a server beside it.
    """
    hosts = [redis_cluster.host, *([redis_server.url] if mixed else [])]
    config = {"hosts": hosts, "prefix": prefix, "capacity": 10_000, **options}
    processes = [
        Process(await run_process(SCRIPT, backend=OURS[layer], **config)) for _ in range(2)
    ]
    channels: dict[Process, list[str]] = {}
    for process in processes:
        channels[process] = [await process.channel() for _ in range(25)]
    for process, own in channels.items():
        for channel in own:
            await process.call("group_add", "everyone", channel)
    everyone = [channel for own in channels.values() for channel in own]
    await asyncio.gather(
        *(
            process.call(
                "send_at_once",
                [
                    *(("send", channel, numbered(f"direct {number}")) for channel in everyone),
                    ("group_send", "everyone", numbered(f"group {number}")),
                ],
            )
            for number, process in enumerate(processes)
        )
    )
    for process, own in channels.items():

        async def received(process: Process = process) -> dict[str, list[Any]] | None:
            found: dict[str, list[Any]] = await process.call("received")
            complete = all(len(messages) >= 4 * MESSAGES for messages in found.values())
            return found if complete else None

        found = await eventually(received, timeout=30)
        assert found.keys() == set(own)
        for messages in found.values():
            assert len(messages) == 4 * MESSAGES
            for source in ("direct 0", "direct 1", "group 0", "group 1"):
                theirs = [one for one in messages if one.get("source") == source]
                assert theirs == numbered(source)
