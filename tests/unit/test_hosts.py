"""Entries of `hosts`, and wrong ones in addition to those that `manage.py check` is tested with."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import redis
from redis.asyncio import ConnectionPool
from redis.asyncio.connection import AbstractConnection, SSLConnection

from channels_redis_shared.config.hosts import Host, parse_hosts

SENTINELS = [("sentinel1", 26379), ("sentinel2", 26380)]
MASTER = {"sentinels": SENTINELS, "master_name": "mymaster"}
USER = {"username": "user", "password": "p@ss/:", "db": 3, "client_name": "chat"}
HARMFUL = {
    "retry_on_timeout": True,
    "health_check_interval": 30,
    "max_connections": 5,
    "decode_responses": True,
}


def parse(entry: object) -> Host:
    """The host that an entry of `hosts` means."""
    (host,) = parse_hosts([entry])
    return host


def connection(host: Host) -> AbstractConnection:
    """A connection to the host, not open yet."""
    link: AbstractConnection = ConnectionPool.from_url(host.url, **host.arguments).make_connection()
    return link


@pytest.mark.parametrize("hosts", [None, [], ()])
def test_default_is_localhost(hosts: object) -> None:
    """Without hosts, there is the server on this machine's port 6379."""
    (host,) = parse_hosts(hosts)
    assert str(host) == "redis://localhost:6379/0"


@pytest.mark.parametrize(
    ("entry", "shown"),
    [
        ("redis://example.org:7000/3", "redis://example.org:7000/3"),
        ("REDIS://example.org/", "redis://example.org:6379/0"),
        ("redis://", "redis://localhost:6379/0"),
        ("redis://[::1]:7000/1", "redis://[::1]:7000/1"),
        ("unix:///run/redis.sock", "unix:///run/redis.sock?db=0"),
        ("unix://user:pass@/run/redis.sock?db=2", "unix:///run/redis.sock?db=2"),
        (("example.org", 7000), "redis://example.org:7000/0"),
        (["example.org", "7000"], "redis://example.org:7000/0"),
        (("fe80::1%eth0", 7000), "redis://[fe80::1%eth0]:7000/0"),
        ("redis://[fe80::1%25eth0]:7000", "redis://[fe80::1%eth0]:7000/0"),
        ({}, "redis://localhost:6379/0"),
        ({"address": "redis://example.org", "ssl": True}, "rediss://example.org:6379/0"),
        ({"address": "rediss://example.org", "ssl": False}, "rediss://example.org:6379/0"),
        ({"host": "example.org", "port": 7000, "db": "4"}, "redis://example.org:7000/4"),
        ({"path": "/run/redis.sock", "db": 1}, "unix:///run/redis.sock?db=1"),
        ({"path": Path("/run/redis.sock")}, "unix:///run/redis.sock?db=0"),
        (MASTER, "master 'mymaster' of the Sentinels sentinel1:26379, sentinel2:26380"),
        ({"host": "example.org", "master_name": None}, "redis://example.org:6379/0"),
        ({"host": "example.org", "sentinels": None}, "redis://example.org:6379/0"),
    ],
)
def test_each_form_of_a_host_is_understood(entry: object, shown: str) -> None:
    """Every way to write a host gives the server that it means."""
    assert str(parse(entry)) == shown


@pytest.mark.parametrize(
    "entry",
    [
        "redis://user:p%40ss%2F%3A@h:7000/3?client_name=chat",
        {"address": "redis://h:7000", **USER},
        {"host": "h", "port": 7000, **USER},
    ],
)
def test_forms_of_one_host_mean_the_same(entry: object) -> None:
    """A URL, a URL with arguments next to it, and arguments alone give the same connection."""
    link: Any = connection(parse(entry))
    assert (link.host, link.port, link.db, link.client_name) == ("h", 7000, 3, "chat")
    assert (link.username, link.password) == ("user", "p@ss/:")


@pytest.mark.parametrize(
    ("entry", "timeouts"),
    [
        ("redis://h?socket_timeout=0.5&socket_connect_timeout=2", (0.5, 2.0)),
        ("unix:///run/redis.sock?socket_timeout=9", (9.0, 5.0)),
        ({"host": "h", "socket_timeout": None}, (5.0, 5.0)),
        (MASTER, (5.0, 5.0)),
    ],
)
def test_timeouts_are_the_layers(entry: object, timeouts: tuple[float, float]) -> None:
    """The time that a command may take is the entry's, or 5 s, and redis-py does not get it."""
    host = parse(entry)
    assert (host.timeout, host.connect_timeout) == timeouts
    assert not {"socket_timeout", "socket_connect_timeout"} & set(host.arguments)


@pytest.mark.parametrize(
    "entry",
    [
        {"host": "h", "retry_on_error": [redis.ConnectionError], "retry": object()} | HARMFUL,
        "redis://h?retry_on_timeout=true&health_check_interval=30&decode_responses=true",
        {"address": "redis://h?retry_on_timeout=1"} | HARMFUL,
        {**MASTER, "check_connection": True} | HARMFUL,
    ],
)
def test_arguments_that_would_do_harm_are_left_out(entry: object) -> None:
    """redis-py repeats no command, puts none before another, and decodes no reply."""
    link: Any = connection(parse(entry))
    assert link.retry._retries == 0
    assert not link.retry_on_timeout
    assert not link.retry_on_error
    assert link.health_check_interval == 0
    assert link.encoder.decode(b"\xff") == b"\xff"


def test_sentinel_keeps_what_is_for_the_sentinels_apart() -> None:
    """`sentinel_kwargs` go to the Sentinels, all else to the master."""
    host = parse({**MASTER, "password": "master's", "sentinel_kwargs": {"password": "theirs"}})
    assert [str(one) for one in host.sentinels] == [
        "Sentinel sentinel1:26379",
        "Sentinel sentinel2:26380",
    ]
    assert host.master_name == "mymaster"
    assert {one.arguments["password"] for one in host.sentinels} == {"theirs"}
    assert host.arguments["password"] == "master's"


def test_cluster_lends_its_arguments_to_each_node() -> None:
    """A node of a Cluster is connected to as the entry says, at its own address."""
    host = parse({"cluster": [("node1", 7000), ["::1", "7001"]], "username": "u", "ssl": True})
    assert host.nodes == (("node1", 7000), ("::1", 7001))
    assert str(host) == "Redis Cluster of node1:7000, [::1]:7001"
    node = connection(host.at(("node3", 7002)))
    assert isinstance(node, SSLConnection)
    assert (node.host, node.port, node.username) == ("node3", 7002, "u")


def test_users_dict_is_left_as_it_is() -> None:
    """Settings may be read again, by a second layer."""
    entry = {"address": "redis://h?db=1", "socket_timeout": 3, "retry": None, "ssl": True}
    before = dict(entry)
    assert parse(entry) == parse(entry)
    assert entry == before


@pytest.mark.parametrize(
    "entry",
    [
        "redis://user:s3cret@h",
        {"host": "h", "password": "s3cret"},
        {**MASTER, "password": "s3cret", "sentinel_kwargs": {"password": "s3cret"}},
    ],
)
def test_no_password_is_shown(entry: object) -> None:
    """Neither the text of a host for a log nor its repr holds a password."""
    host = parse(entry)
    assert host.arguments["password"] == "s3cret"
    assert "s3cret" not in f"{host} {host!r}"


@pytest.mark.parametrize(
    ("entry", "text"),
    [
        ("redis://h?db=x", "Invalid value for"),
        ("redis://h?socket_timeout=-1", "socket_timeout must be a positive number of seconds"),
        (("h", True), "port must be a number from 1 to 65535, not True"),
        (("h", 6379, 0, "x"), "not a tuple of 4"),
        (("user:password@h", 6379), '"username" and a "password" next to it'),
        ({"host": ""}, "a host must be a name"),
        ({"host": "h", "db": -1}, "db must be a whole number, not -1"),
        ({5: 5}, "the connection argument 5 is unknown"),
        ({"path": ""}, "path must be the file of a UNIX socket"),
        ({"path": "/x", "ssl": True}, "a UNIX socket has no TLS: leave out 'ssl'"),
        ({"host": "h", "ssl": True, "ssl_check_hostname": "no"}, "ssl_check_hostname must be"),
        ({"host": "h", "connection_class": "Connection"}, "connection_class must be a subclass"),
        # Any part of these may be of a password.
        ("redis://:s3cret/word@h", ""),
        ("redis://:s3cret#word@h", ""),
        ("redis://:12/s3cret@h", ""),
        ("redis://:s3cret@h:port", ""),
        ("redis://:s3cret[@h", "the host or the port of the URL is not valid"),
        ("redis://:s3cret\u2100@h", ""),
        ("user:s3cret@h:6379", ""),
        (("user:s3cret@h", 6379), ""),
        ({**MASTER, "sentinels": [(":s3cret@h", 26379)]}, ""),
        ("http://:s3cret@h", ""),
        (("redis://:s3cret@h", 6379), ""),
        ({"address": "redis://:s3cret@h", "port": 1}, ""),
        ({"host": "h", "pasword": "s3cret"}, ""),
        (
            {"host": "h", "password": "s3cret", "credential_provider": object()},
            "'credential_provider'",
        ),
        ({**MASTER, "sentinel_kwargs": {"pasword": "s3cret"}}, "sentinel_kwargs: the connection"),
    ],
)
def test_wrong_host_is_refused(entry: object, text: str) -> None:
    """The error says which host it is, what is wrong, and what to write.

    It ends up in logs, so it shows no part of a password.
    """
    with pytest.raises(ValueError, match=r"^hosts\[1\]: ") as caught:
        parse_hosts([("localhost", 6379), entry])
    assert text in str(caught.value)
    assert "s3cret" not in str(caught.value)
    assert caught.value.__cause__ is None
    assert caught.value.__suppress_context__ or "s3cret" not in repr(entry)
