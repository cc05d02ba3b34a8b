"""The doctor, where something else answers than `hosts` says."""

from __future__ import annotations

import socket
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any

import pytest
from redis.credentials import CredentialProvider
from redis.exceptions import RedisError, ResponseError

from channels_redis_shared.cli.doctor import explain_failure
from channels_redis_shared.config.hosts import parse_hosts
from channels_redis_shared.transport.connector import Connector
from embedded_server import HOST, EmbeddedServer, reserve_port
from support.certificates import Authority
from support.commands import PACKAGES, QUEUE, examine
from support.environments import redis_8
from support.sentinels import sentinel_of
from support.tls import TlsServer

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from redis import Redis


@pytest.fixture(scope="module")
def tls_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TlsServer]:
    """Yield a server with TLS that requires a certificate of its clients."""
    authority = Authority(tmp_path_factory.mktemp("authority"), "The authority")
    with TlsServer(redis_8(), authority, *authority.issue(HOST)) as server:
        yield server


@pytest.fixture(scope="module")
def http_port() -> Iterator[int]:
    """Yield the port of an HTTP server."""
    with ThreadingHTTPServer((HOST, 0), BaseHTTPRequestHandler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield server.server_port
        server.shutdown()
        thread.join()


@pytest.fixture
def sentinel(redis_server: EmbeddedServer) -> Iterator[EmbeddedServer]:
    """Yield a Sentinel."""
    with sentinel_of(redis_server.port) as sentinel:
        yield sentinel


def advice(package: str, host: Any, subject: str = "connection") -> str:
    """Return what the doctor says and advises about an address that does not work."""
    report = examine(package, host)
    assert report.status == 2
    finding = report.about(subject)
    assert report.of("error") == [finding]
    assert finding["advice"] not in finding["text"]
    return f"{finding['text']} -> {finding['advice']}"


@pytest.mark.parametrize("package", PACKAGES)
def test_sentinel(package: str, sentinel: EmbeddedServer) -> None:
    """A Sentinel's address gets the form for Sentinels, and no other complaint."""
    assert 'write {"sentinels": [' in advice(package, sentinel.url)
    with_database = sentinel.url.removesuffix("/0") + "/1"
    assert 'write {"sentinels": [' in advice(package, with_database)


def test_sentinel_with_a_password(redis_server: EmbeddedServer) -> None:
    """The advice names where the Sentinels' password belongs, not where the server's does."""
    with sentinel_of(redis_server.port, "requirepass right") as sentinel:
        host: Any = {"sentinels": [(HOST, sentinel.port)], "master_name": "mymaster"}
        for wrong in ({}, {"sentinel_kwargs": {"password": "wrong"}}):
            assert " in sentinel_kwargs" in advice(QUEUE, {**host, **wrong})


def test_cluster_without_slots(start_server: Callable[..., EmbeddedServer]) -> None:
    """A Cluster that was not set up is not taken for a server that refuses connections."""
    with reserve_port() as bus:
        server = start_server("cluster-enabled yes", f"cluster-port {bus.getsockname()[1]}")
        found = advice(QUEUE, {"cluster": [(HOST, server.port)]})
        assert "is in no Cluster, or in one without slots" in found


def test_server_among_the_sentinels(redis_server: EmbeddedServer) -> None:
    """A Redis server in `sentinels` is named as such."""
    host: Any = {"sentinels": [(HOST, redis_server.port)], "master_name": "mymaster"}
    assert "it is a Redis server, not a Sentinel" in advice(QUEUE, host)


@pytest.mark.parametrize("package", PACKAGES)
def test_http_server(package: str, http_port: int) -> None:
    """An HTTP server at the port is named."""
    assert "an HTTP server answers there" in advice(package, f"redis://{HOST}:{http_port}/0")


@pytest.mark.parametrize("package", PACKAGES)
def test_no_tls_to_a_tls_port(package: str, tls_server: TlsServer) -> None:
    """A TLS port that is used without TLS gets the other scheme."""
    url = tls_server.url.replace("rediss://", "redis://")
    assert "write rediss:// instead of redis://" in advice(package, url)


@pytest.mark.parametrize("package", PACKAGES)
def test_tls_to_a_plain_port(package: str, redis_server: EmbeddedServer) -> None:
    """A plain port that is used with TLS gets the other scheme, and the option of a dict."""
    host: Any = {"address": redis_server.url.replace("redis://", "rediss://")}
    host["socket_connect_timeout"] = 0.5
    assert "does it speak TLS? If not, write redis://" in advice(package, host)


@pytest.mark.parametrize("package", PACKAGES)
def test_unknown_authority(package: str, tls_server: TlsServer) -> None:
    """A certificate of an unknown authority gets the option that names it."""
    assert "ssl_ca_certs" in advice(package, tls_server.url)
    url = f"{tls_server.url}?ssl_cert_reqs=none"
    assert "ssl_certfile" in advice(package, url)


def test_name_that_is_not_in_the_certificate(tls_server: TlsServer) -> None:
    """The advice is about the name."""
    host = {**tls_server.host, "address": tls_server.url.replace(HOST, "localhost")}
    assert 'write the name in the certificate as "host"' in advice(QUEUE, host)


@pytest.mark.parametrize("package", PACKAGES)
def test_unix_socket(package: str, start_server: Callable[..., EmbeddedServer]) -> None:
    """A path without a server gets no advice about ports; a refused password is named as such."""
    correct_path = "start the server, or correct the path in hosts"
    assert correct_path in advice(package, "unix:///no/server.sock")
    server = start_server("requirepass wonderland")
    assert 'write "password" in hosts' in advice(package, f"unix://{server.unix_socket}")


@pytest.mark.parametrize("package", PACKAGES)
def test_server_with_too_many_clients(
    package: str, start_server: Callable[..., EmbeddedServer]
) -> None:
    """A server that closes each connection gets its setting, and not the address in question."""
    server = start_server("maxclients 1")
    with server.client() as client:
        client.ping()
        assert "may have reached its maxclients" in advice(package, server.url)


class BrokenProvider(CredentialProvider):
    """Credentials that can't be had."""

    def get_credentials(self) -> tuple[str, str]:
        """Raise what an HTTP client raises."""
        raise ValueError("HTTP 503")


async def test_credential_provider(redis_server: EmbeddedServer) -> None:
    """Its error is not blamed on the server, which answers, nor on the address."""
    [host] = parse_hosts([{"address": redis_server.url, "credential_provider": BrokenProvider()}])
    with pytest.raises(RedisError) as caught:
        await Connector(host).open()
    finding = explain_failure(host, caught.value)
    assert "HTTP 503" in finding.text
    assert finding.advice == "change hosts, or the server's settings, by what the error says"


def is_busy(client: Redis) -> bool:
    """Return whether the server refuses a command because of a script that runs."""
    try:
        client.ping()
    except ResponseError as error:
        return str(error).startswith("BUSY")
    return False


@pytest.mark.parametrize("package", PACKAGES)
def test_busy_server(package: str, start_server: Callable[..., EmbeddedServer]) -> None:
    """While a script runs, the doctor says so, and claims nothing about the user's rights."""
    server = start_server("lua-time-limit 1")
    with socket.create_connection((HOST, server.port)) as running, server.client() as client:
        running.sendall(b"EVAL 'while true do end' 0\r\n")
        while not is_busy(client):
            pass
        assert "wait until the server can serve" in advice(package, server.url)
        report = examine(package, server.url)
        assert "BUSY" in report.about("connection")["text"]
        assert "rights" not in [finding["subject"] for finding in report.findings]
        client.script_kill()


def test_unknown_database(redis_server: EmbeddedServer) -> None:
    """A database that the server does not have gets one that it has."""
    url = redis_server.url.removesuffix("/0") + "/99"
    assert "such as 0" in advice(QUEUE, url)
