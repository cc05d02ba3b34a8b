"""Ask Sentinels for the current master."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from redis.asyncio import Redis
from redis.asyncio.retry import Retry
from redis.asyncio.sentinel import MasterNotFoundError
from redis.backoff import NoBackoff
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import ReadOnlyError, RedisError, ResponseError

from ..concurrency import first_result
from ..config.connection_arguments import HIGHEST_PORT
from .advice import explain, explain_tls
from .errors import sum_up
from .redis_py import close_now, find_tls_refusal

if TYPE_CHECKING:
    from collections.abc import Mapping

    from ..config.hosts import Address, Host


_DOWN = {"s_down", "o_down"}


async def find_master(host: Host) -> Address:
    """Return the address of the master, from the first Sentinel that knows it.

    All are asked at once, so that a dead or silent one costs no time.

    Raises:
        redis.exceptions.ConnectionError: No Sentinel answers, or the master is down.
        redis.exceptions.AuthenticationError: They require another password.
        redis.exceptions.ResponseError: They know no master of that name.
    """
    asks = (_ask(host, sentinel) for sentinel in host.sentinels)
    master, errors = await first_result(asks, (RedisError, OSError))
    if master is None:
        raise sum_up(errors, MasterNotFoundError, f"No {host}")
    return master


def require_master(introduction: Mapping[Any, Any], host: Host) -> None:
    """Check that a server is a master, as the Sentinels have said.

    They may be late. A replica refuses writes; but what is published there reaches only its own
    subscribers, and is no error.

    Args:
        introduction: As `connector.introduction` returns it.
        host: The server's.

    Raises:
        redis.exceptions.ReadOnlyError: It is a replica, which is transient.
    """
    if introduction.get(b"role", b"master") != b"master":
        raise ReadOnlyError(f"{host} is a replica: the Sentinels are not up to date yet")


async def _ask(host: Host, address: Address) -> Address:
    name = host.master_name or ""
    masters = await _masters(host, address)
    if name not in masters:
        raise ResponseError(f"master_name: the Sentinels know no {name!r}, only {sorted(masters)}")
    found, flags = masters[name]
    if not _DOWN.isdisjoint(flags):
        raise RedisConnectionError(f"Sentinel {address[0]}:{address[1]} says that {name!r} is down")
    return found


async def _masters(host: Host, address: Address) -> dict[str, tuple[Address, list[str]]]:
    """Return the address and the flags of each master that a Sentinel monitors, by name."""
    options = {
        "socket_timeout": host.connect_timeout,
        "socket_connect_timeout": host.connect_timeout,
        **host.sentinel_arguments,
        # As parsed below; and without retries, which would be seconds apart.
        "decode_responses": True,
        "protocol": 2,
        "retry": Retry(NoBackoff(), 0),
    }
    # Only the client maps its options to a connection. The connection is used without it, since its
    # closing can be cancelled half way.
    shown = f"{address[0]}:{address[1]}"
    client = Redis(host=address[0], port=address[1], **options)
    connection = client.connection_pool.make_connection()
    try:
        await connection.connect()
        await connection.send_command("SENTINEL", "MASTERS")
        reply = await connection.read_response()
        return dict(map(_read_master, reply))
    except RedisConnectionError as error:
        # redis-py 5 reports a refused certificate as a mere error number.
        refusal = await find_tls_refusal(connection, error)
        if refusal is not None:
            raise explain_tls(refusal, f"the Sentinel {shown}") from refusal
        explain(error, host, shown)
        raise
    except RedisError as error:
        explain(error, host, shown)
        raise
    except Exception as error:
        # A reply that no Sentinel sends; uvloop's RuntimeError for a connection that was reset; and
        # a credential provider raises what it likes.
        raise RedisConnectionError(f"Asking the Sentinel {shown} failed: {error!r}") from error
    finally:
        close_now(connection)


def _read_master(flat: list[str]) -> tuple[str, tuple[Address, list[str]]]:
    state = dict(zip(flat[::2], flat[1::2], strict=True))
    address = str(state["ip"]), int(state["port"])
    if not 0 < address[1] <= HIGHEST_PORT:
        raise ValueError(f"port {address[1]}")
    return str(state["name"]), (address, state["flags"].split(","))
