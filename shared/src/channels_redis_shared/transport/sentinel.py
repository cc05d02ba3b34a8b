"""Open connections to the master that Sentinels name."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from redis.asyncio.sentinel import MasterNotFoundError
from redis.exceptions import AuthenticationError, ReadOnlyError, RedisError, ResponseError
from redis.exceptions import ConnectionError as RedisConnectionError

from ..concurrency import first_result
from ..config.connection_arguments import HIGHEST_PORT
from .connector import Connector, introduction
from .errors import sum_up

if TYPE_CHECKING:
    from collections.abc import Mapping

    from ..config.hosts import Address, Host


_DOWN = {"s_down", "o_down"}


class SentinelConnector(Connector):
    """Open connections to the master that Sentinels name."""

    async def locate(self) -> Mapping[str, Any]:
        """Return the address of the master; see `find_master`."""
        # Before each connection: an old master that has come back takes itself for the master
        # until they tell it.
        return dict(zip(("host", "port"), await find_master(self.host), strict=True))

    def check(self, reply: Any) -> None:
        """Check that a server is a master, as the Sentinels have said; see `Connector.check`.

        They may be late. A replica refuses writes; but what is published there reaches only its own
        subscribers, and is no error.

        Raises:
            redis.exceptions.ReadOnlyError: It is a replica, which is transient.
        """
        if introduction(reply).get(b"role", b"master") != b"master":
            raise ReadOnlyError(f"{self.host} is a replica: the Sentinels are not up to date yet")
        super().check(reply)


async def find_master(host: Host) -> Address:
    """Return the address of the master, from the first Sentinel that knows it.

    All are asked at once, so that a dead or silent one costs no time.

    Raises:
        redis.exceptions.ConnectionError: No Sentinel answers, or the master is down.
        redis.exceptions.AuthenticationError: They require another password.
        redis.exceptions.ResponseError: They know no master of that name.
    """
    asks = (_ask(sentinel, host) for sentinel in host.sentinels)
    master, errors = await first_result(asks, (RedisError, OSError))
    if master is None:
        raise sum_up(errors, MasterNotFoundError, f"No {host}")
    return master


async def _ask(sentinel: Host, host: Host) -> Address:
    connector = Connector(replace(sentinel, connect_timeout=host.connect_timeout))
    connection = await connector.open()
    try:
        [reply] = await connection.exchange([("SENTINEL", "MASTERS")], host.connect_timeout)
        masters = reply if isinstance(reply, ResponseError) else dict(map(_read_master, reply))
    except AuthenticationError:
        raise
    except Exception as error:
        # Perhaps a reply that no Sentinel sends.
        raise RedisConnectionError(f"Asking the {sentinel} failed: {error!r}") from error
    finally:
        connection.close()
    if isinstance(masters, ResponseError):
        raise masters
    name = host.master_name or ""
    if name not in masters:
        raise ResponseError(f"master_name: the Sentinels know no {name!r}, only {sorted(masters)}")
    found, flags = masters[name]
    if not _DOWN.isdisjoint(flags):
        raise RedisConnectionError(f"{sentinel} says that {name!r} is down")
    return found


def _read_master(flat: list[bytes]) -> tuple[str, tuple[Address, list[str]]]:
    """Return the name, the address and the flags of a master that a Sentinel monitors."""
    words = [word.decode() for word in flat]
    state = dict(zip(words[::2], words[1::2], strict=True))
    address = state["ip"], int(state["port"])
    if not 0 < address[1] <= HIGHEST_PORT:
        raise ValueError(f"port {address[1]}")
    return state["name"], (address, state["flags"].split(","))
