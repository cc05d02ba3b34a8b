"""TLS: private authorities, certificates of clients, and those that one side refuses."""

from __future__ import annotations

import ssl
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import pytest
from redis.asyncio.connection import SSLConnection
from redis.exceptions import ConnectionError as RedisConnectionError

from embedded_server import HOST, reserve_port
from support.environments import redis_8
from support.layers import LAYERS, works
from support.messages import within
from support.sentinels import MASTER_NAME, sentinel_of
from support.tls import tls_config

if TYPE_CHECKING:
    from collections.abc import Iterator

    from support.certificates import Authority
    from support.layers import LayerClass, Layers
    from support.tls import TlsServer

# Seconds in which an error counts as "at once", and for which trying again would go on.
AT_ONCE, TRYING = 20.0, 60


async def fails_at_once(
    layers: Layers, layer_class: LayerClass, host: dict[str, Any], text: str
) -> None:
    """Check that sending and receiving raise an error with a text, without trying for long."""
    layer = layers(layer_class, {**host, "socket_timeout": TRYING})
    for attempt in (layer.send("jobs", {"type": "work"}), layer.receive("jobs")):
        began = time.monotonic()
        with pytest.raises(RedisConnectionError, match=text):
            await within(attempt)
        assert time.monotonic() - began < AT_ONCE


AT, BY_NAME = f"rediss://{HOST}:PORT", "rediss://localhost:PORT"
# The address of the server, and more options.
ACCEPTED: dict[str, tuple[str, dict[str, Any]]] = {
    "host and port": ("", {"host": HOST, "ssl": True}),
    "constant": (AT, {"ssl_cert_reqs": ssl.CERT_REQUIRED, "ssl_check_hostname": True}),
    "None alone": (AT, {"ssl_cert_reqs": None, "ssl_ca_certs": None}),
    "none in the URL": (f"{AT}?ssl_cert_reqs=none", {"ssl_ca_certs": None}),
    "name": (BY_NAME, {"ssl_check_hostname": False}),
    "name, constant": (BY_NAME, {"ssl_cert_reqs": ssl.CERT_NONE, "ssl_check_hostname": True}),
    "name, in the URL": (f"{BY_NAME}?ssl_check_hostname=false", {}),
}


@pytest.mark.parametrize(("address", "options"), ACCEPTED.values(), ids=ACCEPTED)
async def test_accepted_certificate(
    address: str,
    options: dict[str, Any],
    tls_server: TlsServer,
    layer_class: LayerClass,
    layers: Layers,
) -> None:
    """A private authority and a client's certificate; a user may switch the checks off."""
    host = {**tls_server.host, "address": address.replace("PORT", str(tls_server.port))}
    if not address:
        host["port"] = tls_server.port
        del host["address"]
    await works(layers, layer_class, {**host, **options})


class OwnConnection(SSLConnection):
    """A site's own class of connection, with an argument of its own."""

    def __init__(self, certificates: dict[str, Any], **arguments: Any) -> None:
        super().__init__(**certificates, **arguments)


async def test_connection_class(
    tls_server: TlsServer, layer_class: LayerClass, layers: Layers
) -> None:
    """Arguments that only the class knows reach it."""
    certificates = tls_server.host
    del certificates["address"]
    own = {"connection_class": OwnConnection, "certificates": certificates}
    await works(layers, layer_class, {"host": HOST, "port": tls_server.port, **own})


@contextmanager
def watched(master: TlsServer, authority: Authority) -> Iterator[dict[str, Any]]:
    """Start a Sentinel with TLS for a master; yield the host for both."""
    with reserve_port() as reservation:
        port = reservation.getsockname()[1]
        config = tls_config(port, authority)
        tls = {**master.host, "ssl": True}
        del tls["address"]
        kwargs = {**tls, "ssl_cert_reqs": ssl.CERT_REQUIRED}
        host = {"sentinels": [(HOST, port)], "master_name": MASTER_NAME, "sentinel_kwargs": kwargs}
        with sentinel_of(master.port, *config, "tls-replication yes", binary=redis_8()):
            yield {**host, **tls}


async def test_sentinel(
    authority: Authority, tls_server: TlsServer, named_tls_server: TlsServer, layers: Layers
) -> None:
    """The names of Sentinels are checked as those of servers are, unless they are not to be.

    The name or address by which the Sentinels know a master is the one that is checked.
    """
    with watched(tls_server, authority) as host:
        by_name = {**host, "sentinels": [("localhost", host["sentinels"][0][1])]}
        unchecked = {**host["sentinel_kwargs"], "ssl_check_hostname": False}
        for layer_class in LAYERS:
            await works(layers, layer_class, host)
            await fails_at_once(layers, layer_class, by_name, "not valid for 'localhost'")
            await works(layers, layer_class, {**by_name, "sentinel_kwargs": unchecked})
        await layers.close()
    with watched(named_tls_server, authority) as host:
        for layer_class in LAYERS:
            await fails_at_once(layers, layer_class, host, f"not valid for '{HOST}'")
        await layers.close()
