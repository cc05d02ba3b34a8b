"""Servers that are not what `hosts` says, and what is said about each at the first connection."""

from __future__ import annotations

import asyncio
import re
import socket
import socketserver
import threading
from contextlib import ExitStack, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest
from asgiref.sync import async_to_sync
from redis.exceptions import (
    AuthenticationError,
    InvalidResponse,
    NoPermissionError,
    ReadOnlyError,
    ResponseError,
)
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import TimeoutError as RedisTimeoutError

from channels_redis_queue import RedisChannelLayer
from embedded_server import HOST, EmbeddedServer
from support.certificates import Authority
from support.commands import examine
from support.messages import within
from support.sentinels import MASTER_NAME, sentinel_of
from support.tls import TlsServer
from support.waiting import eventually

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from support.cluster import EmbeddedCluster
    from support.layers import Layer, LayerClass, Layers

# Seconds; an error that lasts is raised long before the end of the trying.
AT_ONCE, TRYING = 20.0, 60
SHORT = {"socket_timeout": 0.5}
# For what accepts a connection and then says nothing.
SILENT = {**SHORT, "socket_connect_timeout": 0.5}


def serve(stack: ExitStack, server: socketserver.TCPServer) -> int:
    """Let a server answer in a thread; return its port."""
    stack.callback(server.server_close)
    thread = threading.Thread(target=server.serve_forever, args=[0.05])
    thread.start()
    stack.callback(thread.join)
    stack.callback(server.shutdown)
    return int(server.server_address[1])


def greeting(banner: bytes) -> socketserver.TCPServer:
    """Return a server that sends a banner to each client, and reads on."""

    class Greeter(socketserver.BaseRequestHandler):
        def handle(self) -> None:
            self.request.sendall(banner)
            while self.request.recv(4096):
                pass

    return socketserver.ThreadingTCPServer((HOST, 0), Greeter)


class Redis4(socketserver.BaseRequestHandler):
    """Replies as Redis 4.0 does to what it does not know; no package has it any more."""

    def handle(self) -> None:
        """Refuse each command of a client."""
        with suppress(OSError):
            while sent := self.request.recv(65536):
                commands = re.findall(rb"\*\d+\r\n", sent)
                self.request.sendall(b"-ERR unknown command\r\n" * len(commands))


@pytest.fixture(scope="module")
def servers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SimpleNamespace]:
    """Yield a server of each kind."""
    authority = Authority(tmp_path_factory.mktemp("good"), "The authority")
    with ExitStack() as stack:
        plain = stack.enter_context(EmbeddedServer())
        replica = stack.enter_context(EmbeddedServer(f"replicaof {HOST} {plain.port}"))
        with plain.client() as client:
            for user, *rights in (("nothing",), ("no-select", "+@all", "~*", "&*", "-select")):
                client.execute_command("ACL", "SETUSER", user, "on", ">pw", *rights)
        unused = stack.enter_context(socket.socket())
        unused.bind((HOST, 0))
        lost = sentinel_of(
            unused.getsockname()[1], f"sentinel down-after-milliseconds {MASTER_NAME} 600000"
        )
        late = Authority(tmp_path_factory.mktemp("late"), "The authority")
        yield SimpleNamespace(
            plain=plain.port,
            replica=replica.port,
            password=stack.enter_context(EmbeddedServer("requirepass right")).port,
            sentinel=stack.enter_context(sentinel_of(plain.port)).port,
            sentinel_with_password=stack.enter_context(
                sentinel_of(plain.port, "requirepass right")
            ).port,
            ca={"ssl": True, "ssl_ca_certs": str(authority.certificate)},
            http=serve(stack, ThreadingHTTPServer((HOST, 0), BaseHTTPRequestHandler)),
            ssh=serve(stack, greeting(b"SSH-2.0-OpenSSH_9.6\r\n")),
            silent=serve(stack, greeting(b"")),
            old=serve(stack, socketserver.ThreadingTCPServer((HOST, 0), Redis4)),
            unused=unused.getsockname()[1],
            sentinel_without_master=stack.enter_context(lost).port,
            tls=stack.enter_context(TlsServer(authority)),
            named=stack.enter_context(TlsServer(authority, name="localhost")),
            expired=stack.enter_context(TlsServer(late, expired=True)),
        )


def at(port: int, **more: Any) -> dict[str, Any]:
    """Return the entry of hosts for a port."""
    return {"host": HOST, "port": port, **more}


def by_sentinel(port: int, **more: Any) -> dict[str, Any]:
    """Return the entry of hosts for a Sentinel."""
    return {"sentinels": [(HOST, port)], "master_name": MASTER_NAME, **more}


def by_another_name(on: SimpleNamespace) -> dict[str, Any]:
    """Return the entry of hosts for the server with TLS, by a name that its certificate lacks."""
    return {**on.tls.host, "address": f"rediss://localhost:{on.tls.port}"}


CORRECT = '(redis://HOST/0: correct "username" and "password" in hosts)'
NAME = 'write the name in the certificate as "host", or "ssl_check_hostname": False'
AUTHORITY = 'write the file of the authority that signed the certificate as "ssl_ca_certs"'

Row = tuple["Callable[[SimpleNamespace], Any]", type[Exception], str]

# Raised at once by all calls: trying again would not help. `HOST` stands for the host's name.
LASTING: dict[str, Row] = {
    "no password": (
        lambda on: at(on.password),
        AuthenticationError,
        'Authentication required. (redis://HOST/0: write "password" in hosts',
    ),
    "wrong password": (lambda on: at(on.password, password="wrong"), AuthenticationError, CORRECT),
    "wrong password, RESP 3": (
        lambda on: at(on.password, password="wrong", protocol=3),
        AuthenticationError,
        CORRECT,
    ),
    "password in place of the user": (
        lambda on: f"redis://right@{HOST}:{on.password}",
        AuthenticationError,
        '(redis://HOST/0: write "password" in hosts, and "username" unless',
    ),
    "user without rights": (
        lambda on: at(on.plain, username="nothing", password="pw"),
        NoPermissionError,
        "(redis://HOST/0: ACL SETUSER nothing +",
    ),
    "user without SELECT": (
        lambda on: at(on.plain, username="no-select", password="pw", db=1),
        NoPermissionError,
        "'select' command (redis://HOST/1: ACL SETUSER no-select +select; the command doctor",
    ),
    "database that is not there": (
        lambda on: at(on.plain, db=99),
        ResponseError,
        "DB index is out of range (redis://HOST/99: write the number of a database",
    ),
    "Sentinel as host": (
        lambda on: at(on.sentinel),
        ResponseError,
        'redis://HOST/0 is a Sentinel, which passes no messages: write {"sentinels": [(',
    ),
    "Sentinel as host, with a database": (
        lambda on: at(on.sentinel, db=1),
        ResponseError,
        '(redis://HOST/1: it may be a Sentinel: write {"sentinels": [(',
    ),
    "server as Sentinel": (
        lambda on: by_sentinel(on.plain),
        ResponseError,
        "(Sentinel HOST: it is a Redis server, not a Sentinel: write a Sentinel's port",
    ),
    "server as node of a Cluster": (
        lambda on: {"cluster": [(HOST, on.plain)]},
        ResponseError,
        "redis://HOST/0 is no Redis Cluster: write it as a separate host, {\"host\": '127.0.0.1'",
    ),
    "unknown master": (
        lambda on: {**by_sentinel(on.sentinel), "master_name": "main"},
        ResponseError,
        "master_name: the Sentinels know no 'main', only ['mymaster']",
    ),
    "Sentinel without its password": (
        lambda on: by_sentinel(on.sentinel_with_password, password="right"),
        AuthenticationError,
        'Authentication required. (Sentinel HOST: write "password" in sentinel_kwargs',
    ),
    "Sentinel with a wrong password": (
        lambda on: by_sentinel(on.sentinel_with_password, sentinel_kwargs={"password": "x"}),
        AuthenticationError,
        '(Sentinel HOST: correct "username" and "password" in sentinel_kwargs)',
    ),
    "HTTP server": (
        lambda on: at(on.http),
        InvalidResponse,
        "(redis://HOST/0: an HTTP server answers there: write the host and port of the Redis",
    ),
    "Redis 4": (lambda on: at(on.old), ResponseError, "(redis://HOST/0: use Redis 5.0 or newer"),
    "SSH server": (
        lambda on: at(on.ssh),
        InvalidResponse,
        "(redis://HOST/0: no Redis server answers there: write the host and port",
    ),
    "SSH server, with TLS": (
        lambda on: at(on.ssh, ssl=True),
        RedisConnectionError,
        'the port does not speak TLS: write redis:// instead of rediss:// in hosts, or leave "ssl"',
    ),
    "unknown authority": (lambda on: on.tls.url, RedisConnectionError, AUTHORITY),
    "certificate of another host": (by_another_name, RedisConnectionError, NAME),
    "certificate of another host, optional": (
        lambda on: {**by_another_name(on), "ssl_check_hostname": None, "ssl_cert_reqs": "optional"},
        RedisConnectionError,
        NAME,
    ),
    "certificate for a name at an address": (lambda on: on.named.host, RedisConnectionError, NAME),
    "certificate that has expired": (
        lambda on: on.expired.host,
        RedisConnectionError,
        "renew the server's certificate",
    ),
}

# May end by themselves: `send` tries until its timeout, and `receive` waits and logs the reason.
PASSING: dict[str, Row] = {
    "no listener": (
        lambda on: at(on.unused, **SHORT),
        RedisConnectionError,
        "connecting to HOST",
    ),
    "silent server": (
        lambda on: at(on.silent, **SILENT),
        RedisTimeoutError,
        "redis://HOST/0 did not accept a connection within 0.5 s",
    ),
    "no TLS to a TLS port": (
        lambda on: at(on.tls.port, **SHORT),
        RedisConnectionError,
        "if it speaks TLS, write rediss:// instead of redis:// in hosts",
    ),
    "master that is down": (
        lambda on: by_sentinel(on.sentinel_without_master, **SHORT),
        RedisConnectionError,
        " (master 'mymaster' of the Sentinels HOST: no connection could be opened)",
    ),
    "TLS to a port without": (
        lambda on: at(on.plain, ssl=True, **SILENT),
        RedisTimeoutError,
        "does it speak TLS? If not, write redis:// instead of rediss:// in hosts, or leave",
    ),
    "no Sentinel": (
        lambda on: by_sentinel(on.unused, **SHORT),
        RedisConnectionError,
        "No master 'mymaster' of the Sentinels HOST: Error ",
    ),
    "no node of the Cluster": (
        lambda on: {"cluster": [(HOST, on.unused)], **SHORT},
        RedisConnectionError,
        "No node of the Redis Cluster of HOST can be asked: Error ",
    ),
}


def expected(text: str, host: Any) -> str:
    """Return the text of a row with the address of its host."""
    if not isinstance(host, dict) or "address" in host:
        address = (host if isinstance(host, str) else host["address"]).rpartition("/")[2]
        return text.replace("HOST", address.rpartition("@")[2])
    [(name, port), *_] = host.get("sentinels") or host.get("cluster") or [(HOST, host.get("port"))]
    return text.replace("HOST", f"{name}:{port}")


@pytest.mark.parametrize("name", LASTING)
async def test_lasting(
    name: str,
    servers: SimpleNamespace,
    layer_class: LayerClass,
    layers: Layers,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Sending, receiving and synchronous sending raise at once, and say what to write."""
    make, kind, text = LASTING[name]
    host = make(servers)
    text = expected(text, host)
    if isinstance(host, str):
        host = f"{host}?socket_timeout={TRYING}"
    else:
        host["socket_timeout"] = TRYING
    layer = layers(layer_class, host)
    for call in (
        layer.send("jobs", {"type": "x"}),
        layer.receive("jobs"),
        receive_own(layer),
        receive_own(layer),
        asyncio.to_thread(async_to_sync(layers(layer_class, host).send), "jobs", {"type": "x"}),
    ):
        with pytest.raises(kind) as caught:
            await within(call, AT_ONCE)
        assert text in str(caught.value)
    assert "trying again" not in caplog.text
    await doctor_says(text, layer_class, host)


@pytest.mark.parametrize("name", [None, "expired"], ids=["none", "of another authority"])
async def test_certificate_of_the_client(
    name: str | None, servers: SimpleNamespace, layer_class: LayerClass, layers: Layers
) -> None:
    """Where the server requires one, a connection that it resets is an error that says so."""
    own = getattr(servers, name).host if name else {}
    host = {**own, "address": servers.tls.url, **servers.ca, **SHORT}
    with pytest.raises(RedisConnectionError, match='as "ssl_certfile" and "ssl_keyfile"'):
        await within(layers(layer_class, host).send("jobs", {"type": "x"}), AT_ONCE)


async def doctor_says(text: str, layer_class: LayerClass, host: Any) -> None:
    """Check that the doctor finds the same fault, and gives its advice once."""
    package = layer_class.__module__.partition(".")[0]
    report = await asyncio.to_thread(examine, package, host)
    assert report.status == 2
    said = [f"{error['text']} {error['advice']}" for error in report.of("error")]
    # It names the address and itself elsewhere.
    words = re.sub(r"^.*\((redis://|Sentinel |master ).*?: |; the command doctor$|\)$", "", text)
    assert [line.count(words) for line in said] == [1], said


async def receive_own(layer: Layer) -> None:
    """Receive from a new channel, which only Pub/Sub needs a server to make."""
    await layer.receive(await layer.new_channel())


@pytest.mark.parametrize("name", PASSING)
async def test_passing(
    name: str,
    servers: SimpleNamespace,
    layer_class: LayerClass,
    layers: Layers,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Sending raises after its timeout, and a receiver's log has the same reason."""
    make, kind, text = PASSING[name]
    host = make(servers)
    text = expected(text, host)
    layer = layers(layer_class, host)
    with pytest.raises(kind) as caught:
        await within(layer.send("jobs", {"type": "x"}))
    assert text in str(caught.value)
    await doctor_says(text, layer_class, host)
    caplog.clear()
    waiting = asyncio.ensure_future(layer.receive("jobs"))
    await eventually(lambda: "trying again until it is back" in caplog.text)
    assert text in caplog.text
    waiting.cancel()


async def test_node_of_a_cluster(redis_cluster: EmbeddedCluster, layers: Layers) -> None:
    """Two of three nodes lack a channel's slot: the queue layer says how a Cluster is written."""
    refused = 0
    for name, port in redis_cluster.addresses:
        host = at(port, socket_timeout=TRYING)
        layer, other = (layers(RedisChannelLayer, host) for _ in range(2))
        form = re.escape(f'write {{"cluster": [("{name}", {port})]}} in hosts')
        with suppress(ResponseError):
            await within(layer.send("jobs", {"type": "x"}))
            continue
        refused += 1
        for call in (
            layer.send("jobs", {"type": "x"}),
            layer.receive("jobs"),
            asyncio.to_thread(async_to_sync(other.send), "jobs", {"type": "x"}),
            asyncio.gather(*(layer.group_send(f"group-{n}", {"type": "x"}) for n in range(9))),
        ):
            with pytest.raises(ResponseError, match=form):
                await within(call, AT_ONCE)
    assert refused == 2


async def test_replica(servers: SimpleNamespace, layers: Layers) -> None:
    """The queue layer says that it writes, and where the master is written."""
    layer = layers(RedisChannelLayer, at(servers.replica, **SHORT))
    with pytest.raises(ReadOnlyError, match="it is a replica: write the master in hosts, or write"):
        await within(layer.send("jobs", {"type": "x"}))
