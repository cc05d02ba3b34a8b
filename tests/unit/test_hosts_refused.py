"""Wrong hosts, beside those that `manage.py check` is tested with."""

from __future__ import annotations

import re

import pytest

from channels_redis_shared.config.hosts import parse_hosts

SENTINELS = [("sentinel1", 26379), ("sentinel2", 26380)]
MASTER = {"sentinels": SENTINELS, "master_name": "mymaster"}


@pytest.mark.parametrize(
    ("hosts", "text"),
    [
        ("", "hosts must be a list"),
        (["localhost", "6379"], 'hosts must be a list, such as ["redis://localhost:6379/0"] or'),
    ],
)
def test_one_host_in_place_of_a_list_is_refused(hosts: object, text: str) -> None:
    """The error shows what the list would be."""
    with pytest.raises(ValueError, match=f"^{re.escape(text)}"):
        parse_hosts(hosts)


@pytest.mark.parametrize(
    ("entry", "text"),
    [
        (None, "not of type NoneType. If it comes from an environment variable"),
        ("redis+sentinel://h/m", 'for Sentinel write a dict, {"sentinels": [('),
        ("redis://h:port", "the host or the port of the URL is not valid"),
        ("redis://h:99999", "the host or the port of the URL is not valid"),
        ("redis://[::1", "the host or the port of the URL is not valid"),
        ("redis://h:0", "a port is a number from 1 to 65535"),
        ("redis://h/1/2", "the path must be a database's number"),
        ("redis://h?db=x", "Invalid value for"),
        ("redis://h?socket_timeout=x", "Invalid value for"),
        ("redis://h?socket_timeout=-1", "socket_timeout must be a positive number of seconds"),
        ("redis://h?passwort=x", "the connection argument 'passwort' is unknown; did you mean"),
        (("h", True), "port must be a number from 1 to 65535, not True"),
        ((None, 6379), 'a host must be a name or an address such as "localhost", not None'),
        ({"host": "redis://h"}, "a URL is not a host"),
        ({"host": ""}, "a host must be a name"),
        ({"host": "h", "port": 70000}, "port must be a number from 1 to 65535, not 70000"),
        ({"host": "h", "db": -1}, "db must be a whole number, not -1"),
        ({"host": "h", "protocol": "x"}, "protocol must be 2 or 3"),
        ({"host": "h", "socket_timeout": 0}, "socket_timeout must be a positive number"),
        ({"host": "h", "socket_timeout": True}, "socket_timeout must be a positive number"),
        ({"host": "h", "socket_connect_timeout": "5"}, "socket_connect_timeout must be a positive"),
        ({"host": "h", "pasword": "x"}, "'pasword' is unknown; did you mean 'password'?"),
        (
            ("user:password@h", 6379),
            'a host cannot contain "@": write "username" and "password"',
        ),
        ({"host": "user:password@h"}, 'a host cannot contain "@"'),
        (("h", 6379, 0, "x"), "not a tuple of 4"),
        ({5: 5}, "the connection argument 5 is unknown"),
        ({"address": 5}, "an address must be a URL such as"),
        ({"address": ("h",)}, "write a host and a port as a pair"),
        ({"path": ""}, "path must be the file of a UNIX socket"),
        ({"path": "/x", "ssl": True}, "a UNIX socket has no TLS: leave out 'ssl'"),
        ({"host": "h", "ssl": True, "ssl_ca_cert": "/"}, "'ssl_ca_cert' is unknown; did you mean"),
        ({"host": "h", "ssl": True, "ssl_cert_reqs": "CERT_NONE"}, "ssl_cert_reqs must be"),
        ({"host": "h", "ssl": True, "ssl_check_hostname": "no"}, "ssl_check_hostname must be"),
        ({"host": "h", "username": "u", "credential_provider": object()}, "'credential_provider'"),
        ({"host": "h", "connection_class": "Connection"}, "connection_class must be a subclass"),
        ({"cluster": []}, 'write hosts and ports as a list: "cluster": [("node1", 7000)]'),
        ({"cluster": ("h", 1)}, 'as a list: "cluster": [('),
        ({"cluster": "redis://h"}, 'as a list: "cluster": [('),
        ({"cluster": [("h", 0)]}, "port must be a number from 1 to 65535, not 0"),
        ({"cluster": [("h", 1)], "master_name": "m"}, "write either 'cluster' or 'master_name'"),
        ({"sentinels": SENTINELS, "master_name": ""}, "Sentinels need the name"),
        ({"sentinel_kwargs": {}}, 'as a list: "sentinels": [('),
        ({**MASTER, "sentinels": []}, 'as a list: "sentinels": [('),
        ({**MASTER, "sentinels": "s:26379"}, 'as a list: "sentinels": [('),
        ({**MASTER, "sentinels": [("s", "x")]}, "port must be a number"),
        (
            {**MASTER, "sentinel_kwargs": {"pasword": 1}},
            "sentinel_kwargs: the connection argument 'pasword' is unknown",
        ),
    ],
)
def test_wrong_host_is_refused(entry: object, text: str) -> None:
    """The error says which host it is, what is wrong, and what to write."""
    with pytest.raises(ValueError, match=r"^hosts\[1\]: ") as caught:
        parse_hosts([("localhost", 6379), entry])
    assert text in str(caught.value)


@pytest.mark.parametrize(
    "entry",
    [
        "redis://:s3cret/word@h",
        "redis://:s3cret?word@h",
        "redis://:s3cret#word@h",
        "redis://:12/s3cret@h",
        "redis://:12?s3cret@h",
        "redis://:12#s3cret@h",
        "redis://:s3cret@h:port",
        "redis://:s3cret[@h",
        "redis://:s3cret\u2100@h",
        "user:s3cret@h:6379",
        ("user:s3cret@h", 6379),
        {"host": "user:s3cret@h"},
        {**MASTER, "sentinels": [(":s3cret@h", 26379)]},
        {"cluster": [("user:s3cret@h", 7000)]},
        "user:s3cret@h://x",
        "http://:s3cret@h",
        ("redis://:s3cret@h", 6379),
        {"host": "redis://:s3cret@h"},
        {"address": "redis://:s3cret@h", "port": 1},
        {"host": "h", "pasword": "s3cret"},
        {"host": "h", "password": "s3cret", "credential_provider": object()},
        {**MASTER, "sentinel_kwargs": {"pasword": "s3cret"}},
    ],
)
def test_no_password_stands_in_an_error(entry: object) -> None:
    """Errors end up in logs: they show no part of a URL or value that may hold a password."""
    with pytest.raises(ValueError, match=r"^hosts\[0\]: ") as caught:
        parse_hosts([entry])
    assert "s3cret" not in str(caught.value)
    assert caught.value.__cause__ is None
    assert caught.value.__suppress_context__
