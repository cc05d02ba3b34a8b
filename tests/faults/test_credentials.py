"""A credential provider that asks a service, which may be down."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest
from asgiref.sync import async_to_sync
from redis.credentials import CredentialProvider
from redis.exceptions import AuthenticationError, RedisError, ResponseError
from redis.exceptions import ConnectionError as RedisConnectionError

from support.messages import within
from support.waiting import eventually

if TYPE_CHECKING:
    from collections.abc import Callable

    from embedded_server import EmbeddedServer
    from support.layers import LayerClass

HELLO = {"type": "hello"}


class Service(CredentialProvider):
    """Credentials from a service that may be down."""

    def __init__(self) -> None:
        self.down = False
        self.refusals = 0

    def get_credentials(self) -> tuple[str, str]:
        """Return a user and a password, or raise what an HTTP client raises."""
        if self.down:
            self.refusals += 1
            raise ValueError("HTTP 503")
        return "default", ""

    async def get_credentials_async(self) -> tuple[str, str]:
        """Do the same."""
        return self.get_credentials()


async def test_credentials_that_cannot_be_had_for_a_while(
    own_server: EmbeddedServer, layer_class: LayerClass
) -> None:
    """A consumer that reconnects meanwhile goes on waiting."""
    service = Service()
    layer = layer_class(hosts=[{"address": own_server.url, "credential_provider": service}])
    channel = await layer.new_channel()
    waiter = asyncio.create_task(layer.receive(channel))
    await within(layer.send(channel, HELLO))
    assert await within(waiter) == HELLO
    waiter = asyncio.create_task(layer.receive(channel))
    service.down = True
    with own_server.client() as client:
        client.execute_command("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")
        client.execute_command("CLIENT", "KILL", "TYPE", "pubsub")
    await eventually(lambda: service.refusals > 1)
    with pytest.raises(RedisError, match="503"):
        await within(layer.send(channel, HELLO))
    service.down = False

    async def arrives() -> bool:
        await layer.send(channel, HELLO)
        return bool((await asyncio.wait([waiter], timeout=1))[0])

    await eventually(arrives)
    assert await waiter == HELLO
    await within(layer.close_pools())


def test_credentials_that_synchronous_code_cannot_have(
    own_server: EmbeddedServer, layer_class: LayerClass
) -> None:
    """The call fails as for a server that can't be reached, and names the reason."""
    service = Service()
    service.down = True
    layer = layer_class(
        hosts=[
            {"address": own_server.url, "credential_provider": service, "socket_timeout": 0.5},
        ]
    )
    with pytest.raises(RedisConnectionError, match="503"):
        async_to_sync(layer.send)("jobs", HELLO)
    service.down = False
    async_to_sync(layer.send)("jobs", HELLO)


@pytest.mark.parametrize(
    ("options", "kind", "advice"),
    [
        ({}, AuthenticationError, 'write "password" in hosts'),
        ({"password": "wrong"}, AuthenticationError, 'correct "username" and "password" in hosts'),
        ({"password": "right", "db": 99}, ResponseError, "the number of a database"),
    ],
    ids=["no password", "wrong password", "wrong database"],
)
async def test_unix_socket_refuses_the_settings(
    start_server: Callable[..., EmbeddedServer],
    layer_class: LayerClass,
    options: dict[str, Any],
    kind: type[Exception],
    advice: str,
) -> None:
    """As at a port, all calls raise at once, for redis-py's own reason."""
    server = start_server("requirepass right")
    layer = layer_class(hosts=[{"path": server.unix_socket, **options}])
    for call in (layer.receive("jobs"), layer.send("jobs", HELLO)):
        with pytest.raises(kind, match=advice):
            await within(call)
    await within(layer.close_pools())
