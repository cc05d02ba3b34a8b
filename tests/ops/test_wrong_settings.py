"""Wrong settings, and what is said about each when the layer is made and by `manage.py check`."""

from __future__ import annotations

from inspect import signature
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from redis.asyncio.connection import Connection, SSLConnection
from redis.asyncio.sentinel import SentinelManagedSSLConnection

from ops.conftest import BOTH, PUBSUB, QUEUE
from support.certificates import Authority

if TYPE_CHECKING:
    from ops.conftest import Check

MASTER = {"sentinels": [("sentinel1", 26379)], "master_name": "mymaster"}
THIS = str(Path(__file__))
TLS = {"host": "h", "ssl": True}
# Older redis-py does not know the argument.
CA_PATH = "the connection argument 'ssl_ca_path' is unknown"
if "ssl_ca_path" in signature(SSLConnection).parameters:
    CA_PATH = "ssl_ca_path must be a directory that exists, not '/no'"


class OwnConnection(Connection):
    """A user's class of connection that can't be made."""

    def __init__(self, **_: Any) -> None:
        raise KeyError("TOKEN")


# Options of a layer, and the text. In a list are entries of hosts.
WRONG_OPTIONS: list[tuple[dict[str, Any] | list[Any], str]] = [
    # What belongs into hosts
    ({"host": "redis1"}, """no option 'host': write it in hosts, as in "hosts": [{"host": """),
    ({"HOST": "redis1"}, """no option 'HOST': write it in hosts, as in "hosts": [{"host": """),
    ({"url": "redis://h"}, """write it in hosts, as in "hosts": [{"address": "redis://localhost"""),
    ({"password": "x", "hosts": [("h", 6379)]}, """"port": 6379, "password": ...}]"""),
    ({"ssl": True}, """"port": 6379, "ssl": ...}]"""),
    ({**MASTER, "hosts": []}, """"hosts": [{"sentinels": [("sentinel1", 26379)], """),
    (
        {"connection_kwargs": {"db": 1}},
        """"hosts": [{"host": "localhost", "port": 6379, "db": 0}]""",
    ),
    ({"cluster": [("h", 7000)], "hosts": []}, """"hosts": [{"cluster": [("node1", 7000)]}]"""),
    # Options
    ({"OPTIONS": {}}, "has no option 'OPTIONS'. Its options are: capacity, "),
    ({"capasity": 5}, "has no option 'capasity'; did you mean 'capacity'?"),
    ({"symmetric_encryption_key": "x"}, "did you mean 'symmetric_encryption_keys'?"),
    ({"capacity": "100"}, "capacity must be an integer from 1 to 2147483647, not '100'"),
    ({"expiry": None}, "expiry must be an integer from 1 to 2147483647, not None"),
    ({"mailbox_bytes": "64MB"}, "mailbox_bytes must be an integer from 1"),
    ({"channel_capacity": 100}, "channel_capacity must be a dict of channel name pattern"),
    ({"prefix": None}, "prefix must be a str, such as 'asgi', not None"),
    ({"prefix": "shop{"}, "the braces in prefix 'shop{' are not a hash tag"),
    ({"on_overflow": True}, "on_overflow must be the type of a message, such as 'redis.notice'"),
    ({"serializer_format": "pickle"}, "write one of these, or add yours with registry"),
    ({"symmetric_encryption_keys": "x"}, "must be a list of keys, the one to encrypt with first"),
    ({"symmetric_encryption_keys": [""]}, "symmetric_encryption_keys[0] is empty"),
    # An environment variable that is not UTF-8.
    ({"symmetric_encryption_keys": ["\udcff" * 40]}, "surrogates not allowed"),
    ({"symmetric_encryption_keys": [None]}, "symmetric_encryption_keys[0] must be a str or bytes"),
    # The list of hosts
    ({"hosts": "redis://h"}, 'hosts must be a list, such as ["redis://localhost:6379/0"] or'),
    ({"hosts": ("h", 6379)}, 'hosts must be a list, such as ["redis://localhost:6379/0"] or'),
    ({"hosts": {"host": "h"}}, "not one host of type dict"),
    ({"hosts": {"redis://g", "redis://h"}}, "not a set: its order, which all processes must share"),
    ([None], "If it comes from an environment variable, that is not set"),
    ([("h", 6379), 6379], "hosts[1]: a host must be a URL such as"),
    ([[("h", 6379)]], "not a list of 1: remove brackets around it"),
    # URLs
    ([""], "not ''. If it comes from an environment variable, that is not set"),
    ([{"address": None}], "not None. If it comes from an environment variable, that is not set"),
    (["h:6379"], "an address must begin with redis://, rediss:// (TLS) or unix:///"),
    (['"redis://h:6379"'], "the URL has quotes or spaces around it: write it without them"),
    (["redis:6379"], 'write it before your host, as in "redis://HOST:6379"; for Sentinel'),
    (["redis+sentinel://h/mymaster"], 'for Sentinel write a dict, {"sentinels": [("sentinel1"'),
    (["redis://h:99999"], "a port is a number from 1 to 65535"),
    (["redis://::1:6379"], 'an IPv6 address has brackets ("redis://[::1]:6379/0")'),
    (["redis://g:6379,h:6379"], "several servers are several entries"),
    (["redis://my host"], "a host must be a name or an address alone"),
    (["redis://h/name"], "the path must be a database's number"),
    (["redis://:pass/word@h"], "Percent-encode a password: urllib.parse.quote(password, safe='')"),
    (["redis://h?database=1"], "'database' is unknown; the usual ones are"),
    (["redis://h?ssl=true"], 'ssl must be True or False (in a URL, "rediss://" is TLS)'),
    (["redis://h?ssl_cert_reqs=none"], "ssl_cert_reqs needs TLS: write rediss:// in a URL"),
    (["rediss://h?ssl_cert_reqs=CERT_NONE"], 'must be "required", "optional" or "none"'),
    (["rediss://h?ssl_ca_certs=/no/ca.pem"], "ssl_ca_certs must be a file of certificates"),
    (["unix://run/redis.sock"], "write a UNIX socket with three slashes"),
    # Pairs and dicts
    ([("h", "six")], "port must be a number from 1 to 65535, not 'six'"),
    ([("h:6379", 6379)], "write a port, a "),
    ([("[::1]", 6379)], 'such as "localhost" or "::1": write'),
    ([("/run/redis.sock", 6379)], 'a socket as "path"'),
    ([("redis://h", 6379)], 'a URL as "address"'),
    ([{"adress": "redis://h"}], "'adress' is unknown; did you mean 'address'?"),
    ([{"host": "h", "user": "u"}], "'user' is unknown; the usual ones are"),
    ([{"connection_kwargs": {"db": 1}}], "unknown: write what is in it directly among the other"),
    # A KeyError would be a missing alias to Channels.
    ([{"host": "h", "connection_class": OwnConnection}], "hosts[0]: 'TOKEN'"),
    ([{"host": "h", "db": "first"}], "db must be a whole number, not 'first'"),
    ([{"host": "h", "password": ["x"]}], "password must be a str, not of type list"),
    ([{"host": "h", "protocol": 4}], "protocol must be 2 or 3, not 4"),
    ([{"host": "h", "client_name": "my shop"}], "client_name must be ASCII without spaces, not"),
    ([{"host": "h", "socket_timeout": "5"}], "socket_timeout must be a positive number of seconds"),
    ([{"address": "redis://h", "port": 6379}], "write either 'address' or 'port': each says"),
    # TLS
    ([{"host": "h", "ssl_ca_certs": THIS}], 'needs TLS: write rediss:// in a URL, or "ssl": True'),
    ([{**TLS, "ssl_ca_certs": THIS}], "ssl_ca_certs must be a file of certificates"),
    ([{**TLS, "ssl_ca_path": "/no"}], CA_PATH),
    ([{**TLS, "ssl_keyfile": THIS}], "ssl_certfile and ssl_keyfile files of one and its key"),
    # Sentinel and Cluster
    ([{"sentinels": [("s", 26379)]}], "Sentinels need the name of the master: write"),
    ([{"master_name": "mymaster"}], 'write hosts and ports as a list: "sentinels": [("sentinel1"'),
    ([{**MASTER, "sentinels": ["s:26379"]}], "sentinels[0]: write a host and a port as a pair"),
    (
        [{**MASTER, "connection_class": SentinelManagedSSLConnection}],
        'and none for Sentinels, which the layer itself asks: for TLS, write "ssl": True',
    ),
    ([{**MASTER, "sentinel_password": "x"}], "sentinel_kwargs, sentinels, "),
    ([{**MASTER, "sentinel_kwargs": "x"}], 'sentinel_kwargs must be a dict, such as {"password"'),
    ([{"sentinel": [("s", 26379)]}], "'sentinel' is unknown; did you mean 'sentinels'?"),
    ([{"cluster": ["h:7000"]}], "cluster[0]: write a host and a port as a pair"),
    ([{"cluster": [("h", 7000)], "db": 1}], "a Redis Cluster has only database 0: leave out 'db'"),
]


def numbered(rows: list[Any]) -> list[str]:
    """Return an id for each row of a table: its number and the text."""
    return [f"{number}-{row[-1][:40]}" for number, row in enumerate(rows)]


@pytest.mark.parametrize(("app", "backend"), BOTH)
@pytest.mark.parametrize(("wrong", "text"), WRONG_OPTIONS, ids=numbered(WRONG_OPTIONS))
def test_wrong_options(
    check: Check, app: str, backend: str, wrong: dict[str, Any] | list[Any], text: str
) -> None:
    """The layer is not made; the check says why, and which option or host it is."""
    config = {"hosts": wrong} if isinstance(wrong, list) else wrong
    (found,) = check(app, {"default": {"BACKEND": backend, "CONFIG": config}})
    assert found.id == f"{app}.E001"
    assert found.msg.startswith("CHANNEL_LAYERS['default']['CONFIG']: ")
    assert text in found.msg
    assert found.hint


PUBSUB_ALONE = "which only the Pub/Sub layer has: leave it out"
TRUE_OR_FALSE = "sharded_pubsub must be True or False, not"


@pytest.mark.parametrize(
    ("app", "backend", "option", "value", "text"),
    [
        (*BOTH[0], "on_disconnect", "x", PUBSUB_ALONE),
        (*BOTH[0], "sharded_pubsub", "x", PUBSUB_ALONE),
        (*BOTH[1], "group_expirey", 60, "no option 'group_expirey'"),
        (*BOTH[1], "on_reconnect", "x", ""),
        (*BOTH[1], "on_disconnect", {"type": "x"}, "on_disconnect must be the type of a message"),
        (*BOTH[1], "sharded_pubsub", "x", f"{TRUE_OR_FALSE} 'x'"),
        (*BOTH[1], "sharded_pubsub", 1, f"{TRUE_OR_FALSE} 1"),
    ],
)
def test_options_of_one_layer(
    check: Check, app: str, backend: str, option: str, value: object, text: str
) -> None:
    """An option of one layer is checked there, and refused by the other."""
    found = check(app, {"default": {"BACKEND": backend, "CONFIG": {option: value}}})
    assert [text in one.msg for one in found] == ([True] if text else [])


GOOD = {"BACKEND": QUEUE, "CONFIG": {}}
BESIDE = "Write the layer's options in CHANNEL_LAYERS['default']['CONFIG']."

# CHANNEL_LAYERS; the end of the check's id; a part of its text or hint.
WRONG_LAYERS: list[tuple[Any, str, str]] = [
    (None, "W004", "CHANNEL_LAYERS has no layer 'default'"),
    ([GOOD], "E002", "CHANNEL_LAYERS must be a dict"),
    (GOOD, "E002", 'Write CHANNEL_LAYERS = {"default": {"BACKEND": '),
    ({"defaults": GOOD}, "W004", "as self.channel_layer needs it"),
    ({"default": QUEUE}, "E002", "['default'] must be a dict with the key 'BACKEND'"),
    ({"default": {"CONFIG": {}}}, "E002", "must be a dict with the key 'BACKEND'"),
    ({"default": {**GOOD, "CONFIG": None}}, "E002", "['CONFIG'] must be a dict of options"),
    ({"default": {**GOOD, "CONFIG": "redis://h"}}, "E002", "dict of options, not str"),
    ({"default": {**GOOD, "OPTIONS": {}}}, "W005", "has 'OPTIONS', which Channels ignores"),
    ({"default": {**GOOD, "hosts": []}}, "W005", BESIDE),
    ({"default": {"BACKEND": "channels_redis.core.RedisChanelLayer"}}, "E003", "RedisChannelLayer"),
    (
        {"default": {"BACKEND": "channels_redis.core"}},
        "E003",
        "is not the import string of a layer",
    ),
    ({"default": {"BACKEND": "channel_redis.core.RedisChannelLayer"}}, "E003", "pip install"),
    ({"default": {"BACKEND": f"{QUEUE} "}}, "E003", f"Write '{QUEUE}'"),
    (
        {"default": {**GOOD, "CONFIG": {"symmetric_encryption_keys": []}}},
        "W003",
        "is empty: messages are not encrypted",
    ),
    (
        {
            "default": GOOD,
            "chat": {**GOOD, "CONFIG": {"hosts": ["redis://h", "redis://localhost"]}},
        },
        "W006",
        "CHANNEL_LAYERS['default'] and CHANNEL_LAYERS['chat'] share channels and groups",
    ),
]


@pytest.mark.parametrize(("layers", "number", "text"), WRONG_LAYERS, ids=numbered(WRONG_LAYERS))
def test_wrong_layers(check: Check, layers: Any, number: str, text: str) -> None:
    """The check finds what is around the options, too."""
    (found,) = check("channels_redis_queue", layers)
    assert found.id == f"channels_redis_queue.{number}"
    assert text in f"{found.msg} {found.hint}"
    # With both in a project, one of them says it.
    assert check("channels_redis_pubsub", layers, INSTALLED_APPS=["channels_redis"]) == []


def test_pubsub_alone(check: Check) -> None:
    """Without the queue layer's app, that of Pub/Sub reports faults around a layer."""
    layers = {"default": {"BACKEND": f"{PUBSUB}s"}}
    (found,) = check("channels_redis_pubsub", layers)
    assert found.id == "channels_redis_pubsub.E003"
    assert PUBSUB in found.hint


def test_key_of_another_certificate(check: Check, tmp_path: Path) -> None:
    """A key that does not belong to its certificate is an error that names both."""
    authority = Authority(tmp_path, "The authority")
    (certificate, _), (_, key) = authority.issue("one"), authority.issue("two")
    host = {**TLS, "ssl_certfile": str(certificate), "ssl_keyfile": str(key)}
    layers = {"default": {**GOOD, "CONFIG": {"hosts": [host]}}}
    (found,) = check("channels_redis_queue", layers)
    assert "ssl_certfile and ssl_keyfile files of one and its key, with ssl_password" in found.msg
    host["ssl_keyfile"] = str(certificate.with_suffix(".key"))
    assert check("channels_redis_queue", layers) == []
