"""Looks at layers and their servers, and says what to change."""

from __future__ import annotations

import asyncio
import secrets
from importlib.util import find_spec
from typing import TYPE_CHECKING

from redis.exceptions import AuthenticationError, RedisError

from ..transport.cluster import Cluster
from ..transport.errors import is_transient
from .findings import Diagnosis, Finding, Level, Section
from .judging import judge, judge_slots
from .passing import pass_messages
from .rights import find_rights, judge_rights
from .servers import find_facts, servers_of
from .versions import versions

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ..transport.connector import Connector
    from .subject import Examined, Subject

_LOCAL = ("localhost", "127.0.0.1", "::1")


async def diagnose(subject: Subject, layers: Sequence[Examined]) -> Diagnosis:
    """Look at layers of one package and at their servers."""
    sections: list[Section] = []
    for examined in layers:
        connectors = subject.connectors(examined.layer)
        sections.append(Section(examined.title, _settings(examined, connectors)))
        for shard, connector in enumerate(connectors):
            found = await _examine(subject, examined, connector)
            sections += found
            if any(section.worst is Level.ERROR for section in found):
                passed = [Finding(Level.NOTE, "messages", "none was sent, because of the errors")]
            else:
                passed = await pass_messages(examined.layer, shard, len(connectors))
            found[-1].findings.extend(passed)
        await examined.layer.close_pools()
    return Diagnosis(sections, versions(subject))


async def _examine(subject: Subject, examined: Examined, connector: Connector) -> list[Section]:
    """Return what is found of a host: a section for each of its servers."""
    try:
        servers = await servers_of(connector)
    except (RedisError, OSError, asyncio.TimeoutError) as error:
        return [Section(str(connector.host), [_unreachable(error)])]
    sections = [
        Section(name, await _examine_server(subject, examined, server, connector))
        for name, server in servers
    ]
    if isinstance(connector, Cluster):
        sections.insert(0, Section(str(connector.host), [judge_slots(connector)]))
    return sections


async def _examine_server(
    subject: Subject, examined: Examined, server: Connector, host: Connector
) -> list[Finding]:
    try:
        link = await server.open()
        try:
            facts = await find_facts(link)
        finally:
            await link.close()
        rights = await find_rights(server, subject.needs(examined.layer, secrets.token_hex(8)))
    except (RedisError, OSError, asyncio.TimeoutError) as error:
        return [_unreachable(error)]
    cluster = bool(host.host.nodes)
    return [
        *judge(facts, stores=subject.stores, clients=subject.clients, cluster=cluster),
        *judge_rights(rights),
    ]


def _unreachable(error: Exception) -> Finding:
    text = f"{type(error).__name__}: {error}"
    if isinstance(error, AuthenticationError):
        advice = "write the user and password of the server in hosts: redis://USER:PASSWORD@HOST"
    elif is_transient(error):
        advice = (
            "start the server, or correct the address in hosts; a firewall may be in between, and "
            "a port with TLS needs rediss://"
        )
    else:
        advice = "change hosts, or the server's settings, by what the error says"
    return Finding(Level.ERROR, "connection", text, advice)


def _settings(examined: Examined, connectors: Sequence[Connector]) -> list[Finding]:
    """Return what the options and the environment say, without any server."""
    hosts = ", ".join(str(connector.host) for connector in connectors)
    findings = [Finding(Level.OK, "hosts", hosts)]
    if examined.config.get("symmetric_encryption_keys"):
        findings.append(Finding(Level.OK, "encryption", "on"))
    elif all(_is_private(connector) for connector in connectors):
        findings.append(Finding(Level.OK, "encryption", "off; no network is in between, or TLS"))
    else:
        findings.append(
            Finding(
                Level.NOTE,
                "encryption",
                "off: who can listen on the network, or read the server, reads the messages",
                "use rediss://, or symmetric_encryption_keys, unless the network is yours alone",
            )
        )
    unchecked = [str(connector.host) for connector in connectors if _is_unchecked(connector)]
    if unchecked:
        findings.append(
            Finding(
                Level.NOTE,
                "TLS",
                f"{', '.join(unchecked)}: no one checks whether the server is yours; who can "
                "redirect connections gets the password, and reads the messages",
                "leave out ssl_cert_reqs and ssl_check_hostname; ssl_ca_certs names an authority "
                "of your own",
            )
        )
    if find_spec("hiredis") is None:
        findings.append(
            Finding(
                Level.NOTE,
                "hiredis",
                "not installed: replies are parsed by slower code in Python",
                "install the extra [hiredis]",
            )
        )
    return findings


def _is_private(connector: Connector) -> bool:
    """Tell whether nobody but the two machines sees what goes to and fro."""
    host = connector.host
    names = [name for name, _ in (*host.sentinels, *host.nodes)]
    names = names or [str(host.arguments.get("host"))]
    checked = host.arguments.get("ssl_check_hostname")
    return checked or host.url == "unix://" or all(name in _LOCAL for name in names)


def _is_unchecked(connector: Connector) -> bool:
    """Tell whether TLS does not check the name of the server, or of a Sentinel."""
    for_server, for_sentinel = connector.host.arguments, connector.host.sentinel_arguments
    return (
        for_server.get("ssl_check_hostname") is False
        or for_sentinel.get("ssl_check_hostname") is False
    )
