"""A credential provider that asks a service, which may be down."""

from __future__ import annotations

import asyncio
from functools import partial
from typing import TYPE_CHECKING, Any

import pytest
from asgiref.sync import async_to_sync
from redis.credentials import CredentialProvider
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import RedisError

from channels_redis_shared.config.hosts import parse_hosts
from channels_redis_shared.transport.sentinel import find_master
from embedded_server import HOST
from support.acl_rules import PASSWORD, restricted
from support.layers import reaches
from support.messages import take, within
from support.waiting import eventually

if TYPE_CHECKING:
    from collections.abc import Callable

    from embedded_server import EmbeddedServer
    from support.layers import LayerClass

HELLO = {"type": "hello"}
TIMEOUT = 1  # seconds


class Service(CredentialProvider):
    """Credentials from a service that may be down."""

    def __init__(self, user: str = "default", password: str = "") -> None:
        self.user = user
        self.password = password
        self.down = False
        self.asked = 0

    def get_credentials(self) -> tuple[str, str]:
        """Return the user and the password, or raise what an HTTP client raises."""
        self.asked += 1
        if self.down:
            raise ValueError("HTTP 503")
        return self.user, self.password

    async def get_credentials_async(self) -> tuple[str, str]:
        """Do the same."""
        return self.get_credentials()


class Consumer:
    """A consumer of a layer that gets its credentials from a service."""

    def __init__(
        self, make_layer: Callable[..., Any], server: EmbeddedServer, service: Service
    ) -> None:
        host = {"address": server.url, "credential_provider": service, "socket_timeout": TIMEOUT}
        self.server = server
        self.layer = make_layer(hosts=[host])

    async def start(self) -> None:
        """Receive a message, and wait for the next."""
        self.channel = await within(self.layer.new_channel())
        await within(self.layer.send(self.channel, HELLO))
        assert await take(self.layer, self.channel) == HELLO
        self.waiter = asyncio.create_task(self.layer.receive(self.channel))
        await asyncio.sleep(0)

    def cut_off(self) -> None:
        """Close all connections at the server."""
        with self.server.client() as client:
            for kind in ("normal", "pubsub"):
                client.client_kill_filter(_type=kind, skipme=True)

    async def goes_on(self) -> None:
        """Wait until it has the next message."""
        send = partial(self.layer.send, self.channel, HELLO)
        assert await reaches(self.waiter, send) == HELLO


async def test_changed_password(
    own_server: EmbeddedServer, make_layer: Callable[..., Any], layer_class: LayerClass
) -> None:
    """Each new connection asks the provider: a consumer goes on waiting."""
    user = restricted(own_server, layer_class)["username"]
    service = Service(user, PASSWORD)
    consumer = Consumer(make_layer, own_server, service)
    await consumer.start()
    with own_server.client() as client:
        client.execute_command("ACL", "SETUSER", user, "resetpass", ">changed")
    asked, service.password = service.asked, "changed"
    consumer.cut_off()
    await consumer.goes_on()
    assert service.asked > asked


async def test_credentials_that_cannot_be_had_for_a_while(
    own_server: EmbeddedServer, make_layer: Callable[..., Any]
) -> None:
    """A consumer that reconnects meanwhile goes on waiting."""
    service = Service()
    consumer = Consumer(make_layer, own_server, service)
    await consumer.start()
    asked, service.down = service.asked, True
    consumer.cut_off()
    await eventually(lambda: service.asked > asked + 1)
    with pytest.raises(RedisError, match="503"):
        await within(consumer.layer.send(consumer.channel, HELLO))
    service.down = False
    await consumer.goes_on()


async def test_credentials_for_a_sentinel(own_server: EmbeddedServer) -> None:
    """A Sentinel for which there are none counts as away."""

    class Down(Service):
        def get_credentials(self) -> tuple[str, str]:
            raise LookupError("HTTP 503")

    entry = {
        "sentinels": [(HOST, own_server.port)],
        "master_name": "mymaster",
        "sentinel_kwargs": {"credential_provider": Down()},
    }
    [host] = parse_hosts([entry])
    with pytest.raises(RedisConnectionError, match="503"):
        await within(find_master(host))


def test_credentials_that_synchronous_code_cannot_have(
    own_server: EmbeddedServer, make_layer: Callable[..., Any]
) -> None:
    """The call fails as for a server that can't be reached, and names the reason."""
    service = Service()
    service.down = True
    layer = Consumer(make_layer, own_server, service).layer
    with pytest.raises(RedisConnectionError, match="503"):
        async_to_sync(layer.send)("jobs", HELLO)
    service.down = False
    async_to_sync(layer.send)("jobs", HELLO)
