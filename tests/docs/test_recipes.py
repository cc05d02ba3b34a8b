"""The consumers that the page of recipes shows, on both layers."""

from __future__ import annotations

import asyncio
import datetime as dt
import decimal
import json
import runpy
import time
import uuid
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl

import pytest
import redis
from channels.generic.websocket import AsyncJsonWebsocketConsumer
from channels.testing import WebsocketCommunicator
from django.conf import settings

from channels_redis.core import RedisChannelLayer
from docs.conftest import DEADLINE
from support import programs
from support.chromium import launch
from support.pages import write_files

if TYPE_CHECKING:
    from pathlib import Path

    from docs.conftest import Connect
    from embedded_server import EmbeddedServer


@pytest.fixture
def recipes(tmp_path: Path) -> dict[str, Any]:
    """The definitions in the page's files."""
    if not settings.configured:
        settings.configure()
    write_files("recipes.md", tmp_path)
    files = sorted(tmp_path.glob("*.py"))
    assert len(files) == 12
    defined: dict[str, Any] = {}
    for file in files:
        defined |= runpy.run_path(str(file))
    # What signs tokens.
    settings.SECRET_KEY = "for the tests"
    return defined


class Asks(AsyncJsonWebsocketConsumer):  # type: ignore[misc]  # Channels has no types.
    """A consumer with one handler, which answers what it gets."""

    async def receive_json(self, content: Any) -> None:
        """Answer."""
        await self.send_json(content)


async def test_unknown_message_types(
    recipes: dict[str, Any], layer: Any, caplog: pytest.LogCaptureFixture, connect: Connect
) -> None:
    """The consumer lives on after a message that it has no handler for, which is logged."""
    consumer = type("Consumer", (recipes["Tolerant"], Asks), {"groups": ("all",)})
    socket = await connect(consumer)
    await layer.group_send("all", {"type": "new.type"})
    while "Consumer has no handler for new.type" not in caplog.text:
        await asyncio.sleep(0.01)
    await socket.send_json_to({"still": "here"})
    assert await socket.receive_json_from(DEADLINE) == {"still": "here"}


@pytest.mark.usefixtures("layer")
async def test_tokens(recipes: dict[str, Any]) -> None:
    """A signed token opens the socket as its user; without one, and with a wrong one, it closes."""
    answer = recipes["issue"](SimpleNamespace(user=SimpleNamespace(pk=7)))
    token = json.loads(answer.content)["token"]
    for query, user_id in ((f"token={token}", 7), (f"token={token}x", None), ("", None)):
        seen: list[Any] = []

        async def application(scope: Any, receive: Any, send: Any, seen: Any = seen) -> None:
            seen.append(scope["user_id"])
            await recipes["Private"].as_asgi()(scope, receive, send)

        socket = WebsocketCommunicator(recipes["TokenAuth"](application), f"/?{query}")
        assert (await socket.connect(timeout=DEADLINE))[0]
        assert seen == [user_id]
        if user_id is None:
            closed = await socket.receive_output(DEADLINE)
            assert (closed["type"], closed["code"]) == ("websocket.close", 4401)
        await socket.disconnect(timeout=DEADLINE)


async def test_rate_limits(recipes: dict[str, Any], connect: Connect) -> None:
    """A burst passes, what goes beyond it closes the socket; a user's limit counts for itself."""
    socket = await connect(recipes["RateLimited"])
    for number in range(20):
        await socket.send_json_to(number)
        assert await socket.receive_json_from(DEADLINE) == number
    for number in range(10 * DEADLINE):
        await socket.send_json_to(number)
    while (answer := await socket.receive_output(DEADLINE))["type"] == "websocket.send":
        pass
    assert (answer["type"], answer["code"]) == ("websocket.close", 4429)
    user = str(uuid.uuid4())
    assert [await recipes["is_allowed"](user, 2) for _ in range(3)] == [True, True, False]


async def test_heartbeats(recipes: dict[str, Any], connect: Connect) -> None:
    """A ping is answered; a silent socket is closed, one that speaks is not."""
    consumer: Any = type("Consumer", (recipes["Beating"],), {"silence": 0.5})
    socket = await connect(consumer)
    over = time.monotonic() + 3 * consumer.silence
    while time.monotonic() < over:
        await socket.send_json_to({"kind": "ping"})
        assert await socket.receive_json_from(DEADLINE) == {"kind": "pong"}
    closed = await socket.receive_output(DEADLINE)
    assert (closed["type"], closed["code"]) == ("websocket.close", 4408)


async def test_page_that_beats(tmp_path: Path) -> None:
    """The page asks every twenty seconds, and closes the socket when there is no answer."""
    write_files("recipes.md", tmp_path)
    async with launch() as browser:
        page = await browser.new_page()
        await page.clock.install()
        await page.add_script_tag(path=tmp_path / "beats.js")
        socket = """() => {
            globalThis.socket = new EventTarget();
            socket.sent = 0;
            socket.send = () => { socket.sent += 1; };
            socket.close = () => { socket.closed = true; };
            beat(socket);
        }"""
        await page.evaluate(socket)
        await page.clock.run_for(20_500)
        await page.evaluate("socket.dispatchEvent(new Event('message'))")
        await page.clock.run_for(20_000)
        assert await page.evaluate("[socket.sent, socket.closed ?? false]") == [2, False]
        await page.clock.run_for(20_000)
        assert await page.evaluate("[socket.sent, socket.closed ?? false]") == [2, True]


def test_database_connections(tmp_path: Path) -> None:
    """Both ways of asking a database answer; slow calls have separate threads."""
    write_files("recipes.md", tmp_path)
    done = programs.run("-c", ASKING, cwd=tmp_path)
    assert done.status == 0, done.err
    assert json.loads(done.out) == [{"number": 1}, {"number": 2}]


# Threads that meet at a barrier are two.
ASKING = """
import asyncio, json, runpy, threading
from django.conf import settings
database = {"ENGINE": "django.db.backends.sqlite3", "NAME": ":memory:"}
settings.configure(DATABASES={"default": database})
import django
django.setup()
from channels.db import DatabaseSyncToAsync, database_sync_to_async
from channels.testing import WebsocketCommunicator

async def main():
    socket = WebsocketCommunicator(runpy.run_path("reports.py")["Reports"].as_asgi(), "/")
    await socket.connect(timeout=30)
    await socket.send_json_to({})
    print(json.dumps([await socket.receive_json_from(30) for _ in range(2)]))
    await socket.disconnect(timeout=30)
    barrier = threading.Barrier(2)
    slow = DatabaseSyncToAsync(barrier.wait, thread_sensitive=False)
    await asyncio.gather(slow(30), slow(30))
    shared = database_sync_to_async(threading.get_ident)
    assert len(set(await asyncio.gather(*(asyncio.create_task(shared()) for _ in range(9))))) == 1

asyncio.run(main())
"""


async def test_elasticache(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, redis_server: EmbeddedServer, prefix: str
) -> None:
    """The layer logs in with what the provider signs."""
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIAEXAMPLE")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
    write_files("servers.md", tmp_path)
    provider = runpy.run_path(str(tmp_path / "elasticache.py"))["IAM"]
    user, token = provider.get_credentials()
    address, _, query = token.partition("/?")
    signed = dict(parse_qsl(query))
    assert (user, address) == ("shop", "shop-cache")
    assert signed.items() >= {"Action": "connect", "User": "shop", "X-Amz-Expires": "900"}.items()
    assert "/eu-central-1/elasticache/" in signed["X-Amz-Credential"]
    assert len(signed["X-Amz-Signature"]) == 64
    # Redis can't check such a token: to this user it accepts any, and no other user is there.
    with redis.Redis.from_url(redis_server.url) as admin:
        provider.user = prefix
        rights: dict[str, Any] = {"keys": "*", "channels": "*", "commands": ["+@all"]}
        admin.acl_setuser(prefix, enabled=True, nopass=True, **rights)
        layer = RedisChannelLayer(
            [{"address": redis_server.url, "credential_provider": provider}], prefix=prefix
        )
        await layer.send("jobs", {"type": "job"})
        assert await asyncio.wait_for(layer.receive("jobs"), DEADLINE) == {"type": "job"}
        assert prefix in {client["user"] for client in admin.client_list()}
        await layer.close_pools()
        admin.acl_deluser(prefix)


async def test_all_but_me(recipes: dict[str, Any], connect: Connect) -> None:
    """The others get the messages of one, and it gets theirs."""
    sockets = [await connect(recipes["Chat"]) for _ in range(3)]
    # Accepted before it has joined: said once more until all have.
    for number, socket in enumerate(sockets):
        await socket.send_json_to({"text": f"from {number}"})
        others = [other for other in sockets if other is not socket]
        for other in others:
            assert await other.receive_json_from(DEADLINE) == {"text": f"from {number}"}
    for socket in sockets:
        assert await socket.receive_nothing()


async def test_close_all_sockets_of_a_user(recipes: dict[str, Any], connect: Connect) -> None:
    """Those of one user close, those of another stay."""
    mine = [await connect(recipes["Account"], user=SimpleNamespace(pk=1)) for _ in range(2)]
    other = await connect(recipes["Account"], user=SimpleNamespace(pk=2))
    await recipes["log_out"](1)
    for socket in mine:
        assert await socket.receive_output(DEADLINE) == {"type": "websocket.close", "code": 4401}
    assert await other.receive_nothing()


async def test_limit_the_sockets_of_a_user(recipes: dict[str, Any], connect: Connect) -> None:
    """The oldest ones close, and only those of the user."""
    users = [SimpleNamespace(pk=pk) for pk in (2, 1, 1, 1, 1, 1)]
    sockets = [await connect(recipes["Limited"], user=user) for user in users]
    for socket in sockets[1:3]:
        assert (await socket.receive_output(DEADLINE))["code"] == 4429
    for socket in (sockets[0], *sockets[3:]):
        assert await socket.receive_nothing()


async def test_latest_value_only(recipes: dict[str, Any], layer: Any, connect: Connect) -> None:
    """Of a hundred prices the browser gets a few, the last one among them."""
    socket = await connect(recipes["Prices"])
    last = 0
    shown: list[int] = []
    while not shown:
        last += 1
        await layer.group_send("prices", {"type": "price.changed", "price": last})
        if not await socket.receive_nothing(0.1):
            shown.append((await socket.receive_json_from(DEADLINE))["price"])
    for last in range(1000, 1100):
        await layer.group_send("prices", {"type": "price.changed", "price": last})
    while shown[-1] != last:
        shown.append((await socket.receive_json_from(DEADLINE))["price"])
    assert shown == sorted(shown)
    assert len(shown) < 100


async def test_values_of_a_database(
    recipes: dict[str, Any], layer: Any, redis_server: EmbeddedServer, prefix: str
) -> None:
    """UUIDs, dates and decimals arrive as such, from channels and groups, encrypted or not."""
    message = {
        "type": "order.paid",
        "id": uuid.uuid4(),
        "price": decimal.Decimal("9.90"),
        "at": dt.datetime.now(dt.timezone.utc),
        "days": [dt.date(2024, 2, 29), {"also": uuid.uuid4()}],
    }
    with pytest.raises(TypeError, match=r"message\['id'\] is of type uuid.UUID"):
        await layer.send("orders", message)
    assert recipes["DatabaseValues"]
    for keys in (None, ["a key for the tests"]):
        own = type(layer)(
            [redis_server.url],
            prefix=prefix,
            serializer_format="database-values",
            symmetric_encryption_keys=keys,
        )
        channel = await own.new_channel()
        await own.send(channel, message)
        assert await asyncio.wait_for(own.receive(channel), DEADLINE) == message
        await own.group_add("orders", channel)
        await own.group_send("orders", message)
        assert await asyncio.wait_for(own.receive(channel), DEADLINE) == message
        with pytest.raises(TypeError, match=r"message\['x'\] is of type set"):
            await own.send(channel, {"type": "x", "x": {1}})
        await own.close_pools()


async def test_typed_layer(recipes: dict[str, Any], layer: Any) -> None:
    """The site's layer is returned if it is of the class, and is an error otherwise."""
    if isinstance(layer, RedisChannelLayer):
        assert recipes["default_layer"]() is layer
    else:
        with pytest.raises(TypeError, match="must be a RedisChannelLayer, not RedisPubSub"):
            recipes["default_layer"]()


async def test_many_sends_at_once(recipes: dict[str, Any], layer: Any) -> None:
    """They arrive, and share their writes."""
    channels = [await layer.new_channel() for _ in range(50)]
    before = layer.statistics()
    await recipes["notify"](channels, {"type": "hello"})
    found = layer.statistics()
    assert found.sent - before.sent == 50
    assert found.round_trips - before.round_trips < 10
    receiving = (layer.receive(channel) for channel in channels)
    assert await asyncio.wait_for(asyncio.gather(*receiving), DEADLINE) == [{"type": "hello"}] * 50
