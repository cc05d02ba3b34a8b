"""What a receiver had taken when its event loop ended goes to the next one."""

from __future__ import annotations

import asyncio
import threading
from typing import TYPE_CHECKING

from queue_tools import Layers, beside, within
from servers.waiting import eventually

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from embedded_server import EmbeddedServer
    from servers.proxy import TcpProxy

HELLO = {"type": "hello"}


async def test_claims_outlive_a_loop_that_ends_in_an_outage(
    own_server: EmbeddedServer,
    own_layers: Layers,
    tcp_proxy: Callable[[EmbeddedServer], Awaitable[TcpProxy]],
) -> None:
    """A message that the server handed over, in a reply that never came, is handed over again."""
    proxy = await tcp_proxy(own_server)
    layer, sender = own_layers(hosts=[proxy.url]), own_layers()
    key, end = beside(layer, "work").key, threading.Event()

    async def wait_in_vain() -> None:
        waiter = asyncio.create_task(layer.receive("work"))
        await asyncio.to_thread(end.wait)
        waiter.cancel()
        await asyncio.wait([waiter])

    with own_server.client() as client:
        first = asyncio.create_task(asyncio.to_thread(asyncio.run, wait_in_vain()))
        await eventually(lambda: client.info("clients")["blocked_clients"] == 1)
        proxy.stall(requests=False, new=True)
        await within(sender.send("work", HELLO))
        await eventually(lambda: client.keys("*claims*") and not client.exists(key))
        end.set()
        await first
    proxy.cut()
    proxy.resume()
    second = asyncio.wait_for(layer.receive("work"), 30)
    assert await asyncio.to_thread(asyncio.run, second) == HELLO
