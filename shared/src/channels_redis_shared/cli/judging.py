"""Decides what the facts about a server mean for a layer. Does no I/O."""

from __future__ import annotations

import statistics
from typing import TYPE_CHECKING

from redis.crc import REDIS_CLUSTER_HASH_SLOTS

from .findings import Finding, Level

if TYPE_CHECKING:
    from ..transport.cluster import Cluster
    from .servers import Facts

MB = 1024 * 1024
# Seconds of a usual round trip, from which on each message is late.
SLOW = 0.010
# Seconds by which clocks of machines differ that are set by NTP: less.
CLOCK_DIFFERENCE = 2
# How much memory in use leaves too little for a burst.
NEARLY_FULL = 0.9
# Bytes that a client may be behind by: one burst of large messages.
BUFFER = 8 * MB


def judge(facts: Facts, *, stores: bool, clients: str, cluster: bool) -> list[Finding]:
    """Return what the facts mean.

    Args:
        facts: What the server says.
        stores: Whether the layer keeps messages in keys.
        clients: The class of clients that its messages are sent to.
        cluster: Whether the server is written as a node of a Cluster in `hosts`.
    """
    return [
        judge_server(facts),
        judge_role(facts, cluster=cluster),
        judge_round_trips(facts),
        *(judge_memory(facts) if stores else ()),
        judge_buffers(facts, clients),
        judge_clock(facts, stores=stores),
    ]


def judge_server(facts: Facts) -> Finding:
    """Say which server it is."""
    return Finding(Level.OK if facts.info else Level.NOTE, "server", facts.name)


def judge_role(facts: Facts, *, cluster: bool) -> Finding:
    """Say whether the server is one to write to."""
    role, in_cluster = facts.info.get("role"), facts.info.get("cluster_enabled") == "1"
    # Valkey's name for it, and Redis's.
    mode = facts.info.get("server_mode") or facts.info.get("redis_mode")
    if in_cluster and not cluster:
        return Finding(
            Level.ERROR,
            "topology",
            "it is a node of a Redis Cluster, and has a part of the keys only",
            'write it as {"cluster": [("node1", 7000), …]} in hosts',
        )
    if mode == "sentinel":
        return Finding(
            Level.ERROR,
            "topology",
            "it is a Sentinel, which passes no messages",
            'write {"sentinels": [("sentinel1", 26379), …], "master_name": "mymaster"} in hosts',
        )
    if role == "slave":
        return Finding(
            Level.ERROR,
            "topology",
            f"it is a replica of {facts.info.get('master_host')}:{facts.info.get('master_port')}",
            "write the master in hosts, or the Sentinels that know it",
        )
    if role is None:
        return Finding(Level.NOTE, "topology", "unknown: this user may not call INFO")
    replicas = int(facts.info.get("connected_slaves", 0))
    with_replicas = f", with {replicas} replica{'s' * (replicas != 1)}" if replicas else ""
    kind = "a node of a Cluster" if in_cluster else "a master"
    return Finding(Level.OK, "topology", f"{kind}{with_replicas}")


def judge_slots(cluster: Cluster) -> Finding:
    """Say whether each slot of a Cluster that was just asked has a node."""
    owned = sum(cluster.owner(slot) is not None for slot in range(REDIS_CLUSTER_HASH_SLOTS))
    text = f"{len(cluster.owners())} masters have {owned} of {REDIS_CLUSTER_HASH_SLOTS} slots"
    if owned == REDIS_CLUSTER_HASH_SLOTS:
        return Finding(Level.OK, "cluster", text)
    return Finding(
        Level.ERROR,
        "cluster",
        f"{text}: channels and groups in the others can't be used",
        "start the nodes that are missing, or redis-cli --cluster fix HOST:PORT",
    )


def judge_round_trips(facts: Facts) -> Finding:
    """Say how long a round trip takes."""
    trips = facts.round_trips
    median = statistics.median(trips)
    p99 = trips[min(len(trips) - 1, int(len(trips) * 0.99))]
    text = f"min {_ms(trips[0])}, median {_ms(median)}, p99 {_ms(p99)}"
    if median < SLOW:
        return Finding(Level.OK, "round trip", text)
    return Finding(
        Level.WARNING,
        "round trip",
        f"{text}: each message takes at least as long",
        "move the server nearer to the processes (same zone), or look what keeps it busy "
        "(SLOWLOG GET, LATENCY DOCTOR)",
    )


def judge_memory(facts: Facts) -> list[Finding]:
    """Say whether the server may throw messages away, and whether it is full."""
    policy = facts.info.get("maxmemory_policy")
    if policy is None:
        return [Finding(Level.NOTE, "eviction", "unknown: this user may not call INFO")]
    limit, used = int(facts.info.get("maxmemory", 0)), int(facts.info.get("used_memory", 0))
    shown = f"{limit / MB:.0f} MB" if limit else "none"
    text = f"maxmemory {shown}, maxmemory-policy {policy}"
    if policy != "noeviction":
        when = "when it is full" if limit else "as soon as a maxmemory is set"
        return [
            Finding(
                Level.WARNING,
                "eviction",
                f"{text}: {when}, the server deletes messages and groups without a word",
                "set maxmemory-policy noeviction, and give caches a server of their own",
            )
        ]
    if limit and used > NEARLY_FULL * limit:
        return [
            Finding(
                Level.WARNING,
                "memory",
                f"{used / MB:.0f} MB of {shown} are in use: send will raise OutOfMemoryError",
                "raise maxmemory, or move what else is on this server",
            )
        ]
    return [Finding(Level.OK, "eviction", text)]


def judge_buffers(facts: Facts, clients: str) -> Finding:
    """Say how far a process may be behind until the server closes its connection."""
    if facts.buffers is None:
        return Finding(Level.NOTE, "output buffers", "unknown: this user may not call CONFIG GET")
    hard, soft, seconds = facts.buffers.get(clients, (0, 0, 0))
    text = f"client-output-buffer-limit {clients} {hard} {soft} {seconds}"
    lowest = min((limit for limit in (hard, soft) if limit), default=None)
    if lowest is None or lowest >= BUFFER:
        return Finding(Level.OK, "output buffers", text)
    return Finding(
        Level.WARNING,
        "output buffers",
        f"{text}: a process that is busy for a moment loses its connection",
        f"set client-output-buffer-limit {clients} 32mb 8mb 60, or higher",
    )


def judge_clock(facts: Facts, *, stores: bool) -> Finding:
    """Say whether the clocks agree, if what the layer keeps has times."""
    if facts.clock is None:
        return Finding(Level.NOTE, "clock", "unknown: this user may not call TIME")
    text = f"{abs(facts.clock):.3f} s {'ahead of' if facts.clock > 0 else 'behind'} this machine"
    if abs(facts.clock) < CLOCK_DIFFERENCE or not stores:
        return Finding(Level.OK, "clock", text)
    return Finding(
        Level.WARNING,
        "clock",
        f"{text}. An encrypted message is refused if its sender's clock is 60 s ahead of the "
        "reader's, or 10 s behind when the message has waited for expiry; messages of "
        "channels_redis 4 expire early or late",
        "let NTP set the clocks of all machines",
    )


def _ms(seconds: float) -> str:
    return f"{1000 * seconds:.2f} ms"
