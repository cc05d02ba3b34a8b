"""A master with its replica, and the Sentinels that watch them."""

from __future__ import annotations

from contextlib import ExitStack, suppress
from typing import TYPE_CHECKING, Any

import redis

from embedded_server import HOST, EmbeddedServer
from support.waiting import eventually

if TYPE_CHECKING:
    from collections.abc import Mapping

    from typing_extensions import Self

MASTER_NAME = "mymaster"
DOWN_AFTER = 500  # milliseconds
FAILOVER_TIMEOUT = 3000  # milliseconds
# Milliseconds between the messages of Sentinels to each other and to the servers. They decide how
# soon Sentinels find each other, and how long they leave a demoted master alone: 8 s by default.
SHORT_PERIODS = {"INFO-PERIOD": 500, "PUBLISH-PERIOD": 250, "ASK-PERIOD": 200}


def sentinel_of(port: int, *config: str, quorum: int = 1, **options: Any) -> EmbeddedServer:
    """Return a Sentinel of the master at a port; it is not started yet.

    Args:
        port: The master's.
        config: More lines of its configuration.
        quorum: How many Sentinels have to agree that the master is down.
        options: As `EmbeddedServer` takes them.
    """
    monitor = f"sentinel monitor {MASTER_NAME} {HOST} {port} {quorum}"
    return EmbeddedServer(monitor, *config, arguments=["--sentinel"], **options)


def role(server: EmbeddedServer) -> str:
    """Return "master" or "slave", or nothing while a server takes no connection."""
    try:
        with server.client() as client:
            return str(client.info("replication")["role"])
    except redis.ConnectionError:
        return ""


def host_by(*sentinels: EmbeddedServer, **more: Any) -> dict[str, Any]:
    """Return the entry of `hosts` for the master of these Sentinels."""
    addresses = [(HOST, sentinel.port) for sentinel in sentinels]
    return {"sentinels": addresses, "master_name": MASTER_NAME, **more}


class SentinelGroup:
    """Two servers and three Sentinels, of which two decide.

    Args:
        password: What the servers ask for.
        sentinel_password: What the Sentinels ask for.
        down_after: Milliseconds until a Sentinel takes a silent server for dead.
        periods: Other periods than the Sentinels' own; see `SENTINEL DEBUG`.

    Attributes:
        master: The server that began as the master.
        replica: The one that began as its replica.
        sentinels: The Sentinels.
    """

    def __init__(
        self,
        *,
        password: str = "",
        sentinel_password: str = "",
        down_after: int = DOWN_AFTER,
        periods: Mapping[str, int] = SHORT_PERIODS,
    ) -> None:
        self._periods = [word for period in periods.items() for word in period]
        self._down_after = down_after
        self._password = password
        self._sentinel_password = sentinel_password
        self._stack = ExitStack()
        self.master = self._server()
        self.replica = self._server(f"replicaof {HOST} {self.master.port}")
        self.sentinels = [self._sentinel() for _ in range(3)]

    def _server(self, *config: str) -> EmbeddedServer:
        auth = (f"requirepass {self._password}", f"masterauth {self._password}")
        config += auth if self._password else ()
        return EmbeddedServer(*config, "repl-diskless-sync-delay 0")

    def _sentinel(self) -> EmbeddedServer:
        config = [
            f"sentinel down-after-milliseconds {MASTER_NAME} {self._down_after}",
            f"sentinel failover-timeout {MASTER_NAME} {FAILOVER_TIMEOUT}",
        ]
        if self._password:
            config.append(f"sentinel auth-pass {MASTER_NAME} {self._password}")
        if self._sentinel_password:
            config += [
                f"requirepass {self._sentinel_password}",
                f"sentinel sentinel-pass {self._sentinel_password}",
            ]
        return sentinel_of(self.master.port, *config, quorum=2)

    @property
    def host(self) -> dict[str, Any]:
        """The entry of `hosts` for this group."""
        return host_by(
            *self.sentinels,
            password=self._password or None,
            sentinel_kwargs={"password": self._sentinel_password or None},
        )

    async def ready(self) -> None:
        """Start the Sentinels, and return when a failover would succeed."""
        await eventually(self._replica_follows)
        for sentinel in self.sentinels:
            self._stack.enter_context(sentinel)
            # Redis 6 has no way to change them.
            with self._client(sentinel) as client, suppress(redis.ResponseError):
                client.execute_command("SENTINEL", "DEBUG", *self._periods)
        await eventually(self._sentinels_know_all, timeout=30)

    def fail_over(self) -> None:
        """Let the replica become the master, and the master its replica."""
        with self._client(self.sentinels[0]) as client:
            client.execute_command("SENTINEL", "FAILOVER", MASTER_NAME)

    async def promoted(self) -> None:
        """Return when the replica is the master, and the Sentinels that are left say so."""
        await eventually(lambda: self.leader() == self.replica.port, timeout=60)

    def leader(self) -> int:
        """Return the port of the master that all running Sentinels name, once it is one; or 0."""
        running = [sentinel for sentinel in self.sentinels if sentinel.pid is not None]
        port, *others = {int(self._master(sentinel)["port"]) for sentinel in running}
        server = self.master if port == self.master.port else self.replica
        if others or server.pid is None:
            return 0
        # A server that has just become one closes all connections.
        with suppress(redis.ConnectionError), self._client(server) as client:
            return port if client.info("replication")["role"] == "master" else 0
        return 0

    def _replica_follows(self) -> bool:
        with self._client(self.replica) as client:
            return bool(client.info("replication")["master_link_status"] == "up")

    def _sentinels_know_all(self) -> bool:
        return all(
            (known["num-other-sentinels"], known["num-slaves"]) == (2, 1)
            for known in map(self._master, self.sentinels)
        )

    def _master(self, sentinel: EmbeddedServer) -> dict[str, Any]:
        with self._client(sentinel) as client:
            state: dict[str, Any] = client.sentinel_masters()[MASTER_NAME]
            return state

    def _client(self, server: EmbeddedServer) -> redis.Redis:
        is_sentinel = server in self.sentinels
        password = self._sentinel_password if is_sentinel else self._password
        return redis.Redis(HOST, server.port, password=password or None, protocol=2)

    def __enter__(self) -> Self:
        for server in (self.master, self.replica):
            self._stack.enter_context(server)
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()
        for server in (self.master, self.replica, *self.sentinels):
            server.close()
