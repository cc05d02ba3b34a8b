"""Uses a layer, forks while it is in use, and uses it on both sides, for `test_identity`."""

from __future__ import annotations

import asyncio
import json
import os
from typing import Any

from channels_redis_queue import RedisChannelLayer
from support.worker import arguments, reply

CHILDREN = 2


class Child:
    """A child process, and the pipe on which it says what it does."""

    def __init__(self, layer: RedisChannelLayer) -> None:
        self._pipe, pipe = os.pipe()
        pid = os.fork()
        if pid == 0:
            status = 1
            try:
                asyncio.run(self._work(layer, pipe))
                status = 0
            finally:
                os._exit(status)
        self.pid = pid
        os.close(pipe)

    async def _work(self, layer: RedisChannelLayer, pipe: int) -> None:
        channel = await layer.new_channel()
        await layer.group_add("room", channel)
        os.write(pipe, json.dumps([channel]).encode())
        messages = [await layer.receive(channel), await layer.receive(channel)]
        os.write(pipe, json.dumps(messages).encode())

    async def said(self) -> Any:
        """Return what the child writes next."""
        data = await asyncio.get_running_loop().run_in_executor(None, os.read, self._pipe, 65536)
        return json.loads(data)

    def status(self) -> int:
        """Wait until the child has ended; it has little left to do."""
        return os.waitpid(self.pid, 0)[1]


async def main() -> None:
    """Report to the test what parent and children received."""
    layer = RedisChannelLayer(**arguments())
    channel = await layer.new_channel()
    await layer.group_add("room", channel)
    await layer.send(channel, {"to": "parent", "when": "before"})
    first = await layer.receive(channel)
    receiving = asyncio.create_task(layer.receive(channel))
    await asyncio.sleep(0)  # so that the parent's receiver waits while it forks
    children = [Child(layer) for _ in range(CHILDREN)]
    channels = [(await child.said())[0] for child in children]
    for number, name in enumerate(channels):
        await layer.send(name, {"to": f"child {number}"})
    await layer.send(channel, {"to": "parent"})
    own = [first, await receiving]
    await layer.group_send("room", {"to": "all"})
    own.append(await layer.receive(channel))
    got = [await child.said() for child in children]
    statuses = [child.status() for child in children]
    await layer.send(channel, {"to": "parent", "when": "after"})
    own.append(await layer.receive(channel))
    reply(channels=[channel, *channels], parent=own, children=got, statuses=statuses)


asyncio.run(main())
