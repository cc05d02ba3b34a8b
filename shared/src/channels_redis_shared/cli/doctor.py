"""Examine layers and their servers, and advise what to change."""

from __future__ import annotations

import asyncio
import itertools
import re
import secrets
import statistics
import time
from abc import ABC, abstractmethod
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from enum import IntEnum
from importlib import import_module
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

from redis.crc import REDIS_CLUSTER_HASH_SLOTS
from redis.exceptions import AuthenticationError, BusyLoadingError, RedisError, ResponseError
from redis.exceptions import ConnectionError as RedisConnectionError

from ..transport.advice import (
    NO_TLS,
    SENTINEL_FORM,
    WRITE_DATABASE,
    WRITE_REDIS,
    WRITE_TLS,
    tls_advice,
)
from ..transport.cluster import Cluster
from ..transport.commands import shard_of
from ..transport.errors import ClientSideError, is_temporary, is_transient, tls_refusal
from .acl import find_forbidden
from .servers import detect_protocol, list_servers, open_connection, read_facts

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping, Sequence

    from ..config.hosts import Host
    from ..transport.connector import Connector
    from .acl import ForbiddenCommand, RequiredCommand
    from .servers import ServerFacts

MB = 1024 * 1024
# Seconds of a typical round trip from which on every message is late.
SLOW_ROUND_TRIP = 0.010
# Seconds; clocks set by NTP differ by less.
MAX_CLOCK_OFFSET = 2
# The share of maxmemory in use that leaves too little for a burst.
NEARLY_FULL = 0.9
# Bytes a client may be behind by: one burst of large messages.
MIN_OUTPUT_BUFFER = 8 * MB
# Seconds for a test message to arrive.
MESSAGE_TIMEOUT = 5
# Those of a server that loses what it stores.
MEMORY_SUBJECTS = ("eviction", "memory")
# Errors of opening or using a connection.
FAILURES = (RedisError, OSError, asyncio.TimeoutError)
# The exit status for errors.
NOT_WORKING = 2


class Level(IntEnum):
    """The severity of a finding."""

    OK = 0
    # Worth knowing; nothing is wrong.
    NOTE = 1
    # It works, but not always or not well.
    WARNING = 2
    # It does not work.
    ERROR = 3


@dataclass(frozen=True)
class Finding:
    """The result of one check.

    Attributes:
        level: Its severity.
        subject: What was checked, in a word or two.
        text: What was found.
        advice: What to change; required for warnings and errors.
    """

    level: Level
    subject: str
    text: str
    advice: str = ""

    def __post_init__(self) -> None:
        """Raise ValueError for a complaint without advice."""
        if self.level >= Level.WARNING and not self.advice:
            raise ValueError(f"the finding {self.text!r} needs an advice")


@dataclass
class Section:
    """The findings about one layer or server."""

    title: str
    findings: list[Finding] = field(default_factory=list)

    def remove(self, *subjects: str) -> None:
        """Remove the findings about some subjects."""
        self.findings = [one for one in self.findings if one.subject not in subjects]

    @property
    def worst(self) -> Level:
        """The highest level of its findings."""
        return max((finding.level for finding in self.findings), default=Level.OK)


@dataclass(frozen=True)
class Diagnosis:
    """All findings, and the versions that a bug report needs."""

    sections: Sequence[Section]
    versions: Mapping[str, str]

    @property
    def status(self) -> int:
        """The exit status: 1 for warnings, 2 for errors, or else 0."""
        return max([0, *(section.worst - Level.NOTE for section in self.sections)])

    def as_dict(self) -> dict[str, Any]:
        """Return it as plain values."""
        sections = [asdict(section) for section in self.sections]
        for finding in itertools.chain(*(section["findings"] for section in sections)):
            finding["level"] = finding["level"].name.lower()
        return {"status": self.status, "sections": sections, "versions": dict(self.versions)}


@dataclass(frozen=True)
class GroupSummary:
    """A group, as far as the servers know it."""

    name: str
    # With members in it. Channels that are members by their own name count as one each.
    processes: int
    # None if the servers can't tell.
    members: int | None
    # Those of whom its members are told, in a group `<group>.presence`; None in all others.
    people: int | None = None
    # Those of the people; also None if there are too many people to count them.
    connections: int | None = None


@dataclass(frozen=True)
class PresenceSummary:
    """The people on a host, and the processes that have them."""

    living: int
    # Those whose leases are over; the living ones remove their people.
    dead: int
    groups: int
    # None if there are too many groups to count them.
    people: int | None

    @property
    def in_use(self) -> bool:
        """True if any process has used presence."""
        return bool(self.living or self.dead)


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
        client_class: The class of clients, in the server's terms, that its messages are sent to.
    """

    package: str
    layer_class: type[Any]
    stores_messages: bool
    client_class: str

    @abstractmethod
    def required_commands(self, layer: Any, token: str) -> Sequence[RequiredCommand]:
        """Return the commands that a layer sends; a random token makes their names unique."""

    @abstractmethod
    async def overview(self, layer: Any, max_groups: int) -> LayerOverview:
        """Return what a layer has on its servers, with at most so many groups in full."""

    @abstractmethod
    async def presence(self, layer: Any, shard: int) -> PresenceSummary | None:
        """Return a summary of the people on a host; None if the user may not read it."""

    def version(self) -> str:
        """Return the version of the package."""
        found: str = import_module(self.package).__version__
        return found

    async def diagnose(self, title: str, layer: Any, config: Mapping[str, Any]) -> list[Section]:
        """Check a layer, its servers and the delivery through each host.

        Args:
            title: Names the layer.
            layer: The layer, which is closed in the end.
            config: The options that it was made with.
        """
        connectors = layer._connectors  # noqa: SLF001 - one package
        sections = [Section(title, check_settings(config, [one.host for one in connectors]))]
        for shard, connector in enumerate(connectors):
            found = await self._diagnose_host(layer, connector)
            presence = None
            if max(section.worst for section in found) < Level.ERROR:
                # If the host fails now, so does the message.
                with suppress(*FAILURES):
                    presence = await self.presence(layer, shard)
                found[-1].findings += [
                    *check_presence(presence),
                    *(await check_histories(layer) if shard == 0 else ()),
                    *await check_delivery(layer, shard, len(connectors)),
                ]
            else:
                text = "none was sent, because of the errors"
                found[-1].findings.append(Finding(Level.NOTE, "messages", text))
            if not self.stores_messages and (presence is None or not presence.in_use):
                for section in found:
                    section.remove(*MEMORY_SUBJECTS)
            sections += found
        await layer.close_pools()
        return sections

    async def _diagnose_host(self, layer: Any, connector: Connector) -> list[Section]:
        try:
            servers = await list_servers(connector)
        except FAILURES as error:
            return [Section(str(connector.host), [await explain_failure(connector.host, error)])]
        sections = [
            Section(name, await self._diagnose_server(layer, server, connector.host))
            for name, server in servers
        ]
        if isinstance(connector, Cluster):
            sections.insert(0, Section(str(connector.host), [check_slots(connector)]))
        return sections

    async def _diagnose_server(self, layer: Any, server: Connector, host: Host) -> list[Finding]:
        required = self.required_commands(layer, secrets.token_hex(8))
        try:
            async with open_connection(server) as connection:
                facts = await read_facts(connection)
            findings = [check_server(facts), check_role(facts, in_cluster=bool(host.nodes))]
            if findings[-1].level is Level.ERROR:  # the rest would be about another server
                return findings
            user, forbidden = await find_forbidden(server, required)
        except FAILURES as error:
            return [await explain_failure(server.host, error)]
        return [
            *findings,
            check_round_trips(facts),
            check_memory(facts),
            check_output_buffers(facts, self.client_class),
            check_clock(facts, stores_messages=self.stores_messages),
            *check_permissions(user, forbidden),
        ]


async def explain_failure(host: Host, error: Exception) -> Finding:
    """Return the error of a connection, with advice that fits what answers at the address."""
    text = f"{type(error).__name__}: {error}"
    speaks = None if isinstance(error, AuthenticationError) else await detect_protocol(host)
    advice = _advice_on_answer(host, error, speaks) or _advice_on_error(host, error)
    # The error's own text may end with it.
    text = re.sub(rf"( \({re.escape(str(host))}:[^()]*|[:;]) {re.escape(advice)}\)?$", "", text)
    return Finding(Level.ERROR, "connection", text, advice)


def _advice_on_answer(host: Host, error: Exception, speaks: str | None) -> str | None:
    """Return what to change if something else answers than `hosts` says, or refuses everyone."""
    if speaks == "http":
        return WRITE_REDIS
    if speaks == "rediss" and host.url == "redis://":
        return WRITE_TLS
    if speaks == "redis" and host.url == "rediss://":
        return f"the port does not speak TLS: write the server's TLS port, or {NO_TLS}"
    if "without slots" in str(error):
        return "give the Cluster its slots: redis-cli --cluster create, or --cluster fix HOST:PORT"
    is_lost = type(error) is RedisConnectionError
    if speaks == "redis" and is_lost and not host.nodes:
        return (
            "a Redis server answers there, and closes the connection: raise its maxclients or, if "
            "it is in protected mode, give its default user a password"
        )
    return None


def _advice_on_error(host: Host, error: Exception) -> str:
    text = str(error)
    if isinstance(error, AuthenticationError) and "sentinel_kwargs" in text:
        advice = 'write the user and password of the Sentinels in "sentinel_kwargs"'
    elif isinstance(error, AuthenticationError):
        advice = "write the user and password of the server in hosts: redis://USER:PASSWORD@HOST"
    elif (refusal := tls_refusal(error)) is not None:
        advice = tls_advice(refusal) or (
            "name the authority that signed the server's certificate: ssl_ca_certs; if the server "
            "requires a certificate of the client: ssl_certfile and ssl_keyfile"
        )
    elif "unknown command" in text and "SENTINEL" in text:
        advice = "a Redis server answers there: write the addresses of Sentinels in sentinels"
    elif "Sentinel, which passes" in text or ("unknown command" in text and "SELECT" in text):
        advice = SENTINEL_FORM
    elif "DB index" in text:
        advice = WRITE_DATABASE
    elif isinstance(error, ResponseError | BusyLoadingError) and is_temporary(error):
        advice = "wait until the server can serve; if that takes long, look into its log"
    elif host.url == "unix://" and is_transient(error):
        advice = "start the server, or correct the path in hosts"
    elif is_transient(error) and not isinstance(error, ClientSideError):
        advice = "start the server, or correct the address in hosts; a firewall may be in between"
        advice += "" if "TLS" in text else ", and a port with TLS needs rediss://"
    else:
        advice = "change hosts, or the server's settings, by what the error says"
    return advice


def check_settings(config: Mapping[str, Any], hosts: Sequence[Host]) -> list[Finding]:
    """Check the options and the environment, without any server."""
    findings = [Finding(Level.OK, "hosts", ", ".join(map(str, hosts)))]
    if config.get("symmetric_encryption_keys"):
        findings.append(Finding(Level.OK, "encryption", "on"))
    elif all(map(_is_private, hosts)):
        text = "off; TLS or the machine itself keeps messages private"
        findings.append(Finding(Level.OK, "encryption", text))
    else:
        findings.append(
            Finding(
                Level.NOTE,
                "encryption",
                "off: messages can be read on the network and on the server",
                "use rediss://, or symmetric_encryption_keys, unless the network is yours alone",
            )
        )
    unchecked = [str(host) for host in hosts if _is_unchecked(host)]
    if unchecked:
        findings.append(
            Finding(
                Level.NOTE,
                "TLS",
                f"{', '.join(unchecked)}: the server's identity is not checked, so an attacker who "
                "redirects connections gets the password and reads the messages",
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


def _is_private(host: Host) -> bool:
    """Return whether TLS that checks the server, or one machine, protects what is sent."""
    addresses = host.sentinels or host.nodes or [(host.arguments.get("host"), 0)]
    return (
        bool(host.arguments.get("ssl_check_hostname"))
        or host.url == "unix://"
        or all(name in {"localhost", "127.0.0.1", "::1"} for name, _ in addresses)
    )


def _is_unchecked(host: Host) -> bool:
    arguments = (host.arguments, host.sentinel_arguments)
    return any(one.get("ssl_check_hostname") is False for one in arguments)


def check_server(facts: ServerFacts) -> Finding:
    """Name the server."""
    return Finding(Level.OK if facts.info else Level.NOTE, "server", facts.name)


def check_role(facts: ServerFacts, *, in_cluster: bool) -> Finding:
    """Check that the server accepts writes, and is written in `hosts` as what it is.

    Args:
        facts: The server.
        in_cluster: Whether `hosts` has it as the node of a Cluster.
    """
    info = facts.info
    role, is_node = info.get("role"), info.get("cluster_enabled") == "1"
    if is_node and not in_cluster:
        return Finding(
            Level.ERROR,
            "topology",
            "it is a node of a Redis Cluster, and has only a part of the keys",
            'write it as {"cluster": [("node1", 7000), …]} in hosts',
        )
    if role == "slave":
        return Finding(
            Level.ERROR,
            "topology",
            f"it is a replica of {info.get('master_host')}:{info.get('master_port')}",
            "write the master in hosts, or the Sentinels that know it",
        )
    if role is None:
        return Finding(Level.NOTE, "topology", "unknown: this user may not call INFO")
    replicas = int(info.get("connected_slaves", 0))
    with_replicas = f", with {replicas} replica{'s' * (replicas != 1)}" if replicas else ""
    kind = "a node of a Cluster" if is_node else "a master"
    return Finding(Level.OK, "topology", f"{kind}{with_replicas}")


def check_slots(cluster: Cluster) -> Finding:
    """Check that each slot of a Cluster has a node, as far as that was just learnt."""
    owned = sum(cluster.owner(slot) is not None for slot in range(REDIS_CLUSTER_HASH_SLOTS))
    text = f"{len(cluster.owners())} masters have {owned} of {REDIS_CLUSTER_HASH_SLOTS} slots"
    if owned == REDIS_CLUSTER_HASH_SLOTS:
        return Finding(Level.OK, "cluster", text)
    return Finding(
        Level.ERROR,
        "cluster",
        f"{text}: channels and groups in the others can't be used",
        "start the missing nodes, or run redis-cli --cluster fix HOST:PORT",
    )


def check_round_trips(facts: ServerFacts) -> Finding:
    """Check the round-trip times."""
    times = facts.round_trips
    median, p99 = statistics.median(times), times[min(len(times) - 1, int(len(times) * 0.99))]
    text = f"min {1e3 * times[0]:.2f} ms, median {1e3 * median:.2f} ms, p99 {1e3 * p99:.2f} ms"
    if median < SLOW_ROUND_TRIP:
        return Finding(Level.OK, "round trip", text)
    return Finding(
        Level.WARNING,
        "round trip",
        f"{text}: each message takes at least as long",
        "move the server nearer to the processes (same zone), or see what keeps it busy "
        "(SLOWLOG GET, LATENCY DOCTOR)",
    )


def check_memory(facts: ServerFacts) -> Finding:
    """Check that the server deletes nothing, and has room for more."""
    policy = facts.info.get("maxmemory_policy")
    if policy is None:
        return Finding(Level.NOTE, "eviction", "unknown: this user may not call INFO")
    limit, used = int(facts.info.get("maxmemory", 0)), int(facts.info.get("used_memory", 0))
    maxmemory = f"{limit / MB:.0f} MB" if limit else "none"
    text = f"maxmemory {maxmemory}, maxmemory-policy {policy}"
    if policy != "noeviction":
        when = "when it is full" if limit else "as soon as a maxmemory is set"
        return Finding(
            Level.WARNING,
            "eviction",
            f"{text}: {when}, the server silently deletes messages, groups and people",
            "set maxmemory-policy noeviction, and give caches a server of their own",
        )
    if limit and used > NEARLY_FULL * limit:
        return Finding(
            Level.WARNING,
            "memory",
            f"{used / MB:.0f} MB of {maxmemory} are in use: send will raise OutOfMemoryError",
            "raise maxmemory, or move what else is on this server",
        )
    return Finding(Level.OK, "eviction", text)


def check_output_buffers(facts: ServerFacts, client_class: str) -> Finding:
    """Check how far a process may fall behind before the server closes its connection."""
    if facts.buffer_limits is None:
        return Finding(Level.NOTE, "output buffers", "unknown: this user may not call CONFIG GET")
    hard, soft, seconds = facts.buffer_limits.get(client_class, (0, 0, 0))
    text = f"client-output-buffer-limit {client_class} {hard} {soft} {seconds}"
    lowest = min((limit for limit in (hard, soft) if limit), default=MIN_OUTPUT_BUFFER)
    if lowest >= MIN_OUTPUT_BUFFER:
        return Finding(Level.OK, "output buffers", text)
    return Finding(
        Level.WARNING,
        "output buffers",
        f"{text}: a process that is busy for a moment loses its connection",
        f"set client-output-buffer-limit {client_class} 32mb 8mb 60, or higher",
    )


def check_clock(facts: ServerFacts, *, stores_messages: bool) -> Finding:
    """Check that the clocks agree, if messages have times."""
    offset = facts.clock_offset
    if offset is None:
        return Finding(Level.NOTE, "clock", "unknown: this user may not call TIME")
    text = f"{abs(offset):.3f} s {'ahead of' if offset > 0 else 'behind'} this machine"
    if abs(offset) < MAX_CLOCK_OFFSET or not stores_messages:
        return Finding(Level.OK, "clock", text)
    return Finding(
        Level.WARNING,
        "clock",
        f"{text}. An encrypted message is refused if its sender's clock is 60 s ahead of the "
        "reader's, or 10 s behind when the message has waited for expiry; messages of "
        "channels_redis 4 expire early or late",
        "let NTP set the clocks of all machines",
    )


def check_permissions(user: str | None, forbidden: Sequence[ForbiddenCommand]) -> list[Finding]:
    """Check the user's permissions: a finding for the layer itself, and for each feature."""
    if user is None:
        return [Finding(Level.OK, "rights", "the server has no ACL")]
    findings = []
    if all(one.required.optional for one in forbidden):
        text = f"user {user!r} may call all that the layer needs"
        findings.append(Finding(Level.OK, "rights", text))
    for only_for in dict.fromkeys(one.required.only_for for one in forbidden):
        commands = [one for one in forbidden if one.required.only_for == only_for]
        names = ", ".join(dict.fromkeys(one.required.name for one in commands))
        rules = " ".join(dict.fromkeys(rule for one in commands for rule in one.missing_rules))
        level, subject, needed_by = Level.ERROR, "rights", ""
        if only_for:
            level, needed_by = Level.WARNING, f", which {only_for} needs"
        if commands[0].required.optional:
            level, subject = Level.NOTE, f"rights, {only_for}"
        text = f"user {user!r} may not call {names}{needed_by}"
        findings.append(Finding(level, subject, text, f"ACL SETUSER {user} {rules}"))
    return findings


def check_presence(summary: PresenceSummary | None) -> list[Finding]:
    """Tell about presence on a host, if anything is known of it."""
    if summary is None:
        return []
    if not summary.in_use:
        return [Finding(Level.OK, "presence", "not in use")]
    people = "" if summary.people is None else f"{summary.people} people in "
    text = f"{people}{summary.groups} groups, from {summary.living} processes"
    if not summary.dead:
        return [Finding(Level.OK, "presence", text)]
    text += f" and {summary.dead} that ended without notice"
    if not summary.living:
        advice = "start a process that calls Presence.track: it removes the people of the others"
        return [Finding(Level.NOTE, "presence", text, advice)]
    advice = (
        "the living processes remove their people within 80 s: run this again then, and if the "
        "warning is still there, check their logs"
    )
    return [Finding(Level.WARNING, "presence", text, advice)]


async def check_histories(layer: Any) -> list[Finding]:
    """Compare the groups that keep a history with those in the processes that run."""
    if "history" not in layer.extensions:
        return []
    own = str(layer._history)  # noqa: SLF001 - one package
    try:
        found = await layer._store.announced(layer.key_shards[0])  # noqa: SLF001
    except FAILURES:  # another check names the reason
        return []
    others = sorted(found - {own})
    if not others:
        return [Finding(Level.OK, "history", own)]
    return [
        Finding(
            Level.WARNING,
            "history",
            f"{own}; in the last two hours, other processes had: {' | '.join(others)}",
            "write the same history in the CONFIG of all processes: an outage loses messages of a "
            "process in which the group keeps none",
        )
    ]


async def check_delivery(layer: Any, shard: int, shards: int) -> list[Finding]:
    """Send a message to a channel and one to a group of one host.

    Args:
        layer: The layer.
        shard: The index of the host.
        shards: The number of the layer's hosts.
    """
    findings = []
    subject = "message"
    try:
        channel = await _new_channel(layer, shard, shards)
        findings.append(await _deliver(layer, subject, channel, layer.send, channel))
        subject = "group message"
        while shard_of(group := _random_name(), shards) != shard:
            pass
        await layer.group_add(group, channel)
        findings.append(await _deliver(layer, subject, channel, layer.group_send, group))
        await layer.group_discard(group, channel)
    except (RedisError, OSError) as error:
        text = f"{type(error).__name__}: {error}"
        advice = "correct what the error names; the page on operations explains each"
        findings.append(Finding(Level.ERROR, subject, text, advice))
    return findings


async def _deliver(
    layer: Any, subject: str, channel: str, send: Callable[..., Awaitable[None]], name: str
) -> Finding:
    message = {"type": "doctor.test", "token": secrets.token_hex(8)}
    started = time.perf_counter()
    await send(name, message)
    try:
        received = await asyncio.wait_for(layer.receive(channel), MESSAGE_TIMEOUT)
    except asyncio.TimeoutError:
        text = f"it was sent, and did not arrive within {MESSAGE_TIMEOUT} s"
        advice = "correct the other findings; if that does not help, report it with this output"
        return Finding(Level.ERROR, subject, text, advice)
    milliseconds = 1000 * (time.perf_counter() - started)
    # It has more keys if the group keeps a history, or the layer's class adds some.
    if received.get("token") != message["token"]:
        text = f"another message arrived: {received!r}"
        return Finding(Level.ERROR, subject, text, "report it with this output")
    return Finding(Level.OK, subject, f"arrived after {milliseconds:.1f} ms")


async def _new_channel(layer: Any, shard: int, shards: int) -> str:
    """Return a new channel on a host, which depends on its random name."""
    while True:
        channel: str = await layer.new_channel(_random_name())
        address = channel[: channel.find("!") + 1] or channel
        if shard_of(address, shards) == shard:
            return channel


def _random_name() -> str:
    return f"doctor-{secrets.token_hex(4)}"
