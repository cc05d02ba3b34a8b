"""Examine layers and their servers, and advise what to change."""

from __future__ import annotations

import asyncio
import re
import secrets
from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from redis.crc import REDIS_CLUSTER_HASH_SLOTS
from redis.exceptions import BusyLoadingError, RedisError, ResponseError

from ..transport.cluster import Cluster
from ..transport.commands import shard_of
from ..transport.errors import ClientSideError, is_temporary, is_transient
from .acl import check_rights
from .findings import Finding, Level, Section
from .servers import check_role, list_servers, open_connection, read_info

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping, Sequence

    from ..config.hosts import Host
    from ..transport.connector import Connector
    from .acl import RequiredCommand

# Seconds for a test message to arrive.
MESSAGE_TIMEOUT = 5
# Errors of opening or using a connection.
FAILURES = (RedisError, OSError, asyncio.TimeoutError)


@dataclass(frozen=True)
class GroupSummary:
    """A group, as far as the servers know it."""

    name: str
    # With members in it. Channels that are members by their own name count as one each.
    processes: int
    # None if the servers don't say.
    members: int | None


@dataclass(frozen=True)
class LayerOverview:
    """A layer's channels, groups and keys on its servers."""

    # Waiting messages of each channel; None if the servers hold no messages.
    channels: Mapping[str, int | None]
    # The number of all groups, and the largest of them.
    groups: int
    largest_groups: Sequence[GroupSummary] = ()
    # Keys, or Redis channels, with the layer's prefix that the layer never creates.
    foreign: int = 0


class LayerDoctor(ABC):
    """Examine the layers of one package.

    The meta-package runs the doctors of both packages, which may be of different releases, with the
    command line of one. So the public methods here, and the fields of what they return, stay.

    Attributes:
        package: Its import name.
        layer_class: Its class of layers.
        stores_messages: Whether its messages wait in Redis.
    """

    package: str
    layer_class: type[Any]
    stores_messages: bool

    @abstractmethod
    def required_commands(self, layer: Any) -> list[RequiredCommand]:
        """Return the commands that a layer sends."""

    @abstractmethod
    async def overview(self, layer: Any, max_groups: int) -> LayerOverview:
        """Return what a layer has on its servers, with at most so many groups in full."""

    async def diagnose(self, title: str, make_layer: Callable[[], Any]) -> list[Section]:
        """Check a layer, its servers and the delivery through each host.

        Args:
            title: Names the layer.
            make_layer: Returns a new one: messages pass from one to another, as between processes.
        """
        sender, receiver = make_layer(), make_layer()
        connectors = receiver._connectors  # noqa: SLF001 - one package
        hosts = ", ".join(str(connector.host) for connector in connectors)
        sections = [Section(title, [Finding(Level.OK, "hosts", hosts)])]
        for shard, connector in enumerate(connectors):
            found = await self._diagnose_host(receiver, connector)
            if max(section.worst for section in found) < Level.ERROR:
                found[-1].findings += await check_delivery(sender, receiver, shard, len(connectors))
            sections += found
        for layer in (sender, receiver):
            await layer.close_pools()
        return sections

    async def _diagnose_host(self, layer: Any, connector: Connector) -> list[Section]:
        host, sections = connector.host, [Section(str(connector.host), check_tls(connector.host))]
        try:
            servers = await list_servers(connector)
            if isinstance(connector, Cluster):
                sections[0].findings.append(check_slots(connector))
            for name, server in servers:
                if len(servers) > 1:
                    sections.append(Section(name))
                findings = sections[-1].findings
                async with open_connection(server) as connection:
                    info = await read_info(connection)
                    role = check_role(info, in_cluster=isinstance(connector, Cluster))
                    findings += [check_server(info), role]
                    if role.level < Level.ERROR:
                        findings.append(check_memory(info, stores=self.stores_messages))
                        user = host.arguments.get("username") or "default"
                        required = self.required_commands(layer)
                        findings += await check_rights(connection, user, required)
        except FAILURES as error:
            sections[-1].findings.append(explain_failure(host, error))
        return sections


def explain_failure(host: Host, error: Exception, subject: str = "connection") -> Finding:
    """Return the error of a connection, with advice."""
    advice: str = getattr(error, "advice", "")
    # The text ends with the advice, too.
    text = re.sub(rf"( \([^()]*: |; ){re.escape(advice)}\)?$", "", str(error))
    if not advice and isinstance(error, ResponseError | BusyLoadingError) and is_temporary(error):
        advice = "wait until the server can serve; if that takes long, look into its log"
    elif not advice and is_transient(error) and not isinstance(error, ClientSideError):
        where = "path" if host.url == "unix://" else "address"
        advice = f"start the server, or correct the {where} in hosts; a firewall may be in between"
    advice = advice or "change hosts, or the server's settings, by what the error says"
    return Finding(Level.ERROR, subject, f"{type(error).__name__}: {text}", advice)


def check_tls(host: Host) -> list[Finding]:
    """Note TLS that does not check who the server is."""
    checked = (one.arguments.get("ssl_check_hostname") for one in (host, *host.sentinels))
    if all(one is not False for one in checked):
        return []
    advice = "leave out ssl_cert_reqs and ssl_check_hostname, and name your own ssl_ca_certs"
    return [Finding(Level.NOTE, "TLS", "it does not check who the server is", advice)]


def check_server(info: Mapping[str, str]) -> Finding:
    """Name the server's product and version."""
    product = "Valkey" if "valkey_version" in info else "Redis"
    number = info.get("valkey_version") or info.get("redis_version")
    text = f"{product} {number}" if number else "unknown: this user may not call INFO"
    return Finding(Level.OK if number else Level.NOTE, "server", text)


def check_slots(cluster: Cluster) -> Finding:
    """Check that each slot of a Cluster has a node, as far as that was just learnt."""
    owned = sum(cluster.owner(slot) is not None for slot in range(REDIS_CLUSTER_HASH_SLOTS))
    text = f"{len(cluster.owners())} masters have {owned} of {REDIS_CLUSTER_HASH_SLOTS} slots"
    if owned == REDIS_CLUSTER_HASH_SLOTS:
        return Finding(Level.OK, "cluster", text)
    text += ": channels and groups in the others can't be used"
    advice = "start the missing nodes, or run redis-cli --cluster fix HOST:PORT"
    return Finding(Level.ERROR, "cluster", text, advice)


def check_memory(info: Mapping[str, str], *, stores: bool) -> Finding:
    """Check that the server deletes nothing.

    Args:
        info: Its INFO.
        stores: Whether the layer's messages are in Redis. Those of Pub/Sub are not, but presence
            and histories are.
    """
    policy = info.get("maxmemory_policy")
    if policy is None:
        return Finding(Level.NOTE, "eviction", "unknown: this user may not call INFO")
    text = f"maxmemory {info.get('maxmemory_human', 'none')}, maxmemory-policy {policy}"
    if policy == "noeviction":
        return Finding(Level.OK, "eviction", text)
    lost = "messages, groups and people" if stores else "people and histories"
    return Finding(
        Level.WARNING if stores else Level.NOTE,
        "eviction",
        f"{text}: when it is full, the server silently deletes {lost}",
        "set maxmemory-policy noeviction, and keep caches on a separate server",
    )


async def check_delivery(sender: Any, receiver: Any, shard: int, shards: int) -> list[Finding]:
    """Send a message to a channel and one to a group, from one layer to another.

    Args:
        sender: The layer that sends.
        receiver: The layer that receives.
        shard: The index of the host.
        shards: The number of the layer's hosts.
    """
    findings = []
    subject = "message"
    try:
        channel = await receiver.new_channel()
        while shard_of(receiver.non_local_name(channel), shards) != shard:
            channel = await receiver.new_channel(_random_name())
        findings.append(await _deliver(subject, sender.send, channel, receiver, channel))
        subject = "group message"
        while shard_of(group := _random_name(), shards) != shard:
            pass
        await receiver.group_add(group, channel)
        findings.append(await _deliver(subject, sender.group_send, group, receiver, channel))
        await receiver.group_discard(group, channel)
    except (RedisError, OSError) as error:
        host = receiver._connectors[shard].host  # noqa: SLF001 - one package
        findings.append(explain_failure(host, error, subject))
    return findings


async def _deliver(
    subject: str, send: Callable[..., Awaitable[None]], name: str, receiver: Any, channel: str
) -> Finding:
    started = asyncio.get_running_loop().time()
    await send(name, {"type": "doctor.test"})
    try:
        await asyncio.wait_for(receiver.receive(channel), MESSAGE_TIMEOUT)
    except asyncio.TimeoutError:
        text = f"it was sent, and did not arrive within {MESSAGE_TIMEOUT} s"
        advice = "correct the other findings; if that does not help, report it with this output"
        return Finding(Level.ERROR, subject, text, advice)
    seconds = asyncio.get_running_loop().time() - started
    return Finding(Level.OK, subject, f"arrived after {1000 * seconds:.1f} ms")


def _random_name() -> str:
    return f"doctor-{secrets.token_hex(4)}"
