"""Examine layers and their servers, and advise what to change."""

from __future__ import annotations

import asyncio
import secrets
from abc import ABC, abstractmethod
from contextlib import closing
from typing import TYPE_CHECKING, Any

from redis.exceptions import RedisError

from ..transport.commands import shard_of
from .acl import check_rights
from .findings import Finding, Level, Section
from .servers import check_role, list_servers, read_info

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping

    from ..config.hosts import Host
    from ..transport.connector import Connector
    from .acl import Rights

# Seconds for a test message to arrive.
MESSAGE_TIMEOUT = 5
# Errors of opening or using a connection.
FAILURES = (RedisError, OSError, asyncio.TimeoutError)


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
    def required_rights(self, layer: Any) -> list[Rights]:
        """Return the rights that a layer and its features require."""

    @abstractmethod
    async def overview(self, layer: Any) -> dict[str, Any]:
        """Return what a layer has on its servers, for JSON."""

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
        sections = [Section(str(connector.host), check_tls(connector.host))]
        try:
            servers = await list_servers(connector)
            for server in servers:
                if len(servers) > 1:
                    sections.append(Section(str(server.host)))
                findings = sections[-1].findings
                with closing(await server.open()) as connection:
                    info = await read_info(connection)
                    findings += check_server(info, server, stores=self.stores_messages)
                    if sections[-1].worst < Level.ERROR:
                        required = self.required_rights(layer)
                        findings += await check_rights(connection, layer.prefix, required)
        except FAILURES as error:
            sections[-1].findings.append(explain_failure(error))
        return sections


def explain_failure(error: Exception, subject: str = "connection") -> Finding:
    """Return the error of a connection, whose text says what to change in `hosts`."""
    advice = "start the server, or change its settings or hosts, by what the error says"
    return Finding(Level.ERROR, subject, f"{type(error).__name__}: {error}", advice)


def check_tls(host: Host) -> list[Finding]:
    """Note TLS that does not check who the server is."""
    checked = (one.arguments.get("ssl_check_hostname") for one in (host, *host.sentinels))
    if all(one is not False for one in checked):
        return []
    advice = "leave out ssl_cert_reqs and ssl_check_hostname, and name your own ssl_ca_certs"
    return [Finding(Level.NOTE, "TLS", "it does not check who the server is", advice)]


def check_server(info: Mapping[str, str], server: Connector, *, stores: bool) -> list[Finding]:
    """Name the server's product and version, and check its role and that it deletes nothing.

    Args:
        info: Its INFO.
        server: The connector to it.
        stores: Whether the layer's messages are in Redis. Those of Pub/Sub are not, but presence
            and histories are.
    """
    if not info:
        return [Finding(Level.NOTE, "server", "unknown: this user may not call INFO")]
    product = "Valkey" if "valkey_version" in info else "Redis"
    number = info.get("valkey_version") or info.get("redis_version")
    found = [Finding(Level.OK, "server", f"{product} {number}"), check_role(info, server)]
    policy = info.get("maxmemory_policy", "noeviction")
    text = f"maxmemory {info.get('maxmemory_human', 'none')}, maxmemory-policy {policy}"
    if policy == "noeviction":
        return [*found, Finding(Level.OK, "eviction", text)]
    level = Level.WARNING if stores else Level.NOTE
    lost = "messages, groups and people" if stores else "people and histories"
    text += f": when it is full, the server silently deletes {lost}"
    advice = "set maxmemory-policy noeviction, and keep caches on a separate server"
    return [*found, Finding(level, "eviction", text, advice)]


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
        findings.append(explain_failure(error, subject))
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
