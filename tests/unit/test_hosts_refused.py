from __future__ import annotations

import re

import pytest

from channels_redis_shared.config.hosts import parse_hosts

SENTINELS = [("sentinel1", 26379), ("sentinel2", 26380)]
MASTER = {"sentinels": SENTINELS, "master_name": "mymaster"}


@pytest.mark.parametrize(
    ("hosts", "text"),
    [
        ("redis://localhost", 'hosts must be a list: write ["redis://localhost:6379"]'),
        ("", "hosts must be a list"),
        (b"redis://localhost", "hosts must be a list"),
        (("localhost", 6379), "hosts must be a list of hosts: write [('localhost', 6379)]"),
        (["localhost", "6379"], "hosts must be a list of hosts: write [('localhost', '6379')]"),
        ({"host": "localhost"}, "hosts must be a list: write [{...}], not one dict"),
        (6379, "hosts must be a list of hosts, not int; a host is a URL such as"),
    ],
)
def test_one_host_in_place_of_a_list_is_refused(hosts: object, text: str) -> None:
    """The error shows what the list would be."""
    with pytest.raises(ValueError, match=f"^{re.escape(text)}"):
        parse_hosts(hosts)


@pytest.mark.parametrize(
    ("entry", "text"),
    [
        (None, "a host cannot be of type NoneType: write a URL such as"),
        (6379, "a host cannot be of type int"),
        (b"redis://h", "a host cannot be of type bytes"),
        ("localhost:6379", 'the address is not a URL: write "redis://" before it'),
        ("http://h", "the scheme http:// is unknown: write redis://, rediss:// (TLS) or unix://"),
        ("redis+sentinel://h/m", "the scheme redis+sentinel:// is unknown"),
        ("redis://h:port", "the host or the port of the URL is not valid"),
        ("redis://h:99999", "the host or the port of the URL is not valid"),
        ("redis://[::1", "the host or the port of the URL is not valid"),
        ("redis://h:0", "the port of the URL must be a number from 1 to 65535, not 0"),
        ("redis://h/name", "the path of the URL must be the number of a database"),
        ("redis://h/1/2", "the path of the URL must be the number of a database"),
        ("redis://h?db=x", "Invalid value for"),
        ("redis://h?socket_timeout=x", "Invalid value for"),
        ("redis://h?socket_timeout=-1", "socket_timeout must be a positive number of seconds"),
        ("redis://h?ssl=true", 'ssl must be True or False; in a URL, write "rediss://"'),
        ("redis://h?passwort=x", "the connection argument 'passwort' is unknown; did you mean"),
        ("unix://run/redis.sock", "write a UNIX socket with three slashes"),
        ("unix://", "write a UNIX socket with three slashes"),
        (("h",), "write a host and a port as a pair"),
        (("h", "port"), "port must be a whole number, not 'port'"),
        (("h", None), "port must be a whole number, not None"),
        (("h", True), "port must be a whole number, not True"),
        (("h", 0), "port must be a number from 1 to 65535, not 0"),
        ((None, 6379), 'a host must be a name or an address such as "localhost", not None'),
        (("redis://h", 6379), 'a URL is not a host: write it as "address"'),
        ({"host": "redis://h"}, "a URL is not a host"),
        ({"host": ""}, "a host must be a name"),
        ({"host": "h", "port": 70000}, "port must be a number from 1 to 65535, not 70000"),
        ({"host": "h", "db": -1}, "db must be a whole number, not -1"),
        ({"host": "h", "db": "x"}, "db must be a whole number, not 'x'"),
        ({"host": "h", "protocol": 4}, "protocol must be 2 or 3, not 4"),
        ({"host": "h", "protocol": "x"}, "protocol must be a whole number"),
        ({"host": "h", "socket_timeout": 0}, "socket_timeout must be a positive number"),
        ({"host": "h", "socket_timeout": True}, "socket_timeout must be a positive number"),
        ({"host": "h", "socket_connect_timeout": "5"}, "socket_connect_timeout must be a positive"),
        ({"host": "h", "pasword": "x"}, "'pasword' is unknown; did you mean 'password'?"),
        ({"adress": "redis://h"}, "the connection argument 'adress' is unknown"),
        (
            ("user:password@h", 6379),
            'a host cannot contain "@": write "username" and "password"',
        ),
        ({"host": "user:password@h"}, 'a host cannot contain "@"'),
        (("h", 6379, 0, "x"), "write a host and a port as a pair"),
        ({5: 5}, "the connection argument 5 is unknown"),
        ({"address": 5}, "an address must be a URL such as"),
        ({"address": ("h",)}, "write a host and a port as a pair"),
        (
            {"address": "redis://h", "host": "g"},
            "the address is enough: leave out 'host'",
        ),
        ({"path": "/x", "port": 1}, "the path is enough: leave out 'port'"),
        ({"path": ""}, "path must be the file of a UNIX socket"),
        ({"path": "/x", "ssl": True}, "a UNIX socket has no TLS: leave out 'ssl'"),
        ({"host": "h", "ssl": "yes"}, "ssl must be True or False"),
        ({"host": "h", "ssl_ca_certs": "/ca.pem"}, "ssl_ca_certs needs TLS: write rediss://"),
        ({"host": "h", "ssl": True, "ssl_ca_cert": "/"}, "'ssl_ca_cert' is unknown; did you mean"),
        (
            {"host": "h", "ssl": True, "ssl_ca_certs": "/no/ca.pem"},
            "no such file or directory: '/no/ca.pem'",
        ),
        ({"host": "h", "ssl": True, "ssl_cert_reqs": "CERT_NONE"}, "ssl_cert_reqs must be"),
        ({"host": "h", "ssl": True, "ssl_check_hostname": "no"}, "ssl_check_hostname must be"),
        ({"host": "h", "username": "u", "credential_provider": object()}, "'credential_provider'"),
        ({"host": "h", "connection_class": "Connection"}, "connection_class must be a subclass"),
        ({"cluster": []}, 'write some nodes of the Cluster as a list: "cluster": [("node1"'),
        ({"cluster": ("h", 1)}, "write some nodes of the Cluster as a list"),
        ({"cluster": "redis://h"}, "write some nodes of the Cluster as a list"),
        ({"cluster": ["h"]}, "write a host and a port as a pair"),
        ({"cluster": [("h", 0)]}, "port must be a number from 1 to 65535, not 0"),
        (
            {"cluster": [("h", 1)], "host": "h"},
            "found through its nodes: leave out 'host'",
        ),
        ({"cluster": [("h", 1)], "master_name": "m"}, "leave out 'master_name'"),
        ({"cluster": [("h", 1)], "db": 1}, "a Redis Cluster has only database 0"),
        ({"sentinels": SENTINELS}, 'Sentinels need the name of the master: "master'),
        ({"sentinels": SENTINELS, "master_name": ""}, "Sentinels need the name"),
        ({"master_name": "mymaster"}, 'write the Sentinels as a list: "sentinels": [("sentinel1"'),
        ({"sentinel_kwargs": {}}, "write the Sentinels as a list"),
        ({**MASTER, "sentinels": []}, "write the Sentinels as a list"),
        ({**MASTER, "sentinels": ("s", 26379)}, "write the Sentinels as a list"),
        ({**MASTER, "sentinels": "s:26379"}, "write the Sentinels as a list"),
        ({**MASTER, "sentinels": ["s:26379"]}, "write a host and a port as a pair"),
        ({**MASTER, "sentinels": [("s", "x")]}, "port must be a whole number"),
        ({**MASTER, "host": "h"}, "the Sentinels know the master's address: leave out 'host'"),
        ({**MASTER, "sentinel_kwargs": "x"}, "sentinel_kwargs must be a dict"),
        (
            {**MASTER, "sentinel_kwargs": {"pasword": 1}},
            "in sentinel_kwargs, the argument 'pasword'",
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
