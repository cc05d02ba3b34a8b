from __future__ import annotations

from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from support.waiting import eventually

if TYPE_CHECKING:
    from conftest import RunProcess
    from support.cluster import EmbeddedCluster
    from support.processes import WorkerProcess

CONSUMERS = Path(__file__).parent / "cluster_consumers.py"
BACKENDS = {
    "queue": "channels_redis_queue.RedisChannelLayer",
    "pubsub": "channels_redis_pubsub.RedisPubSubChannelLayer",
}
MESSAGES = 10


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
    redis_server: Any,
    prefix: str,
    run_process: RunProcess,
) -> None:
    """All direct and group messages arrive once, in each sender's order.

    A cluster is one shard, whether it is the only one or there is a server beside it.
    """
    hosts = [redis_cluster.host, *([redis_server.url] if mixed else [])]
    config = {"hosts": hosts, "prefix": prefix, "capacity": 10_000, **options}
    workers = [
        await run_process(
            CONSUMERS, backend=BACKENDS[layer], config=config, name=str(position), count=25
        )
        for position in range(2)
    ]
    channels = list(chain(*[(await worker.read())["channels"] for worker in workers]))
    assert len(channels) == 50
    for worker in workers:
        await worker.send(send=channels, messages=MESSAGES)
    for worker in workers:
        await worker.read()
    # 25 consumers get both processes' messages to them and to the group.
    expected = 25 * 2 * 2 * MESSAGES

    async def all_arrived() -> bool:
        return all([await count(worker) >= expected for worker in workers])

    await eventually(all_arrived, timeout=30)
    for worker in workers:
        received = (await worker.call(received=True))["received"]
        for messages in received.values():
            assert len(messages) == 4 * MESSAGES
            for kind, sender in [(kind, name) for kind in ("direct", "group") for name in "01"]:
                theirs = [number for *source, number in messages if source == [kind, sender]]
                assert theirs == list(range(MESSAGES))
        await worker.stop()


async def count(worker: WorkerProcess) -> int:
    """Return how many messages a process's consumers have."""
    counted: int = (await worker.call(count=True))["count"]
    return counted
