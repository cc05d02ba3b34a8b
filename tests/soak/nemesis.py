"""The faults of a soak: by a seed, one after the other, each noted in a journal."""

from __future__ import annotations

import asyncio
import contextlib
import shutil
import time
from collections import Counter
from typing import TYPE_CHECKING, Any

from redis.crc import key_slot

from soak.deployments import Cluster, Plain, Sentinel
from soak.fleet import NAMED
from support.cluster import command
from support.sentinels import role
from support.waiting import eventually

if TYPE_CHECKING:
    import random
    from collections.abc import AsyncIterator, Callable, Coroutine, Sequence

    from embedded_server import EmbeddedServer
    from soak.deployments import Deployment
    from soak.fleet import Fleet
    from soak.journal import Journal

    Action = Callable[[], Coroutine[None, None, None]]

# Seconds between two faults: mostly little, and now and then enough for all to recover.
SHORT_BREAK, LONG_BREAK = (1.0, 6.0), (11.0, 16.0)
LONG_BREAKS = 0.3
STOP, LONG_STOP = 15.0, 90.0  # seconds for which a process is stopped
OUTAGE = 75.0  # seconds; longer than a heartbeat counts
# Seconds that a replica may lag, and that an append-only file may be behind.
LAG = 1.0
SYNC = 2.0
TAKEOVER = 60.0  # seconds; a replica takes over within some
FOREVER_AGO = -1e12  # the `since` of a server that forgets everything


class Nemesis:
    """Breaks things, and notes what and when.

    Args:
        deployment: The servers.
        fleet: The processes.
        journal: Gets the faults.
        chance: The source of all that is left to chance.
        only: The names of the faults to cause; without any, all that the deployment can have.
    """

    def __init__(
        self,
        deployment: Deployment,
        fleet: Fleet,
        journal: Journal,
        chance: random.Random,
        only: Sequence[str] = (),
    ) -> None:
        self._deployment = deployment
        self._fleet = fleet
        self._journal = journal
        self._chance = chance
        self._background: list[asyncio.Task[None]] = []
        self._planned = False
        self.done: Counter[str] = Counter()
        self.actions = faults_of(self, only)

    @property
    def deployment(self) -> Any:
        """The servers, of whatever kind the fault needs."""
        return self._deployment

    async def run(self, seconds: float) -> None:
        """Break something again and again for so long; return when all works."""
        until = time.monotonic() + seconds
        watching = asyncio.create_task(self._watch())
        try:
            while True:
                # All of them in some order, then all in another.
                bag = list(self.actions.items())
                self._chance.shuffle(bag)
                # First what takes longest to be over.
                bag.sort(key=lambda entry: entry[0] != "process stopped for long")
                for name, action in bag:
                    if time.monotonic() >= until:
                        return
                    if not await self._cause(name, action, until - time.monotonic()):
                        await asyncio.sleep(0.1)
                        continue
                    long = self._chance.random() < LONG_BREAKS
                    pause = self._chance.uniform(*(LONG_BREAK if long else SHORT_BREAK))
                    await asyncio.sleep(max(0.0, min(pause, until - time.monotonic())))
        finally:
            await asyncio.gather(*self._background)
            watching.cancel()
            await asyncio.wait([watching])

    async def close(self) -> None:
        """Cancel what goes on beside the others."""
        for task in self._background:
            task.cancel()
        await asyncio.gather(*self._background, return_exceptions=True)

    async def _cause(self, name: str, action: Action, remaining: float) -> bool:
        """Cause a fault, unless it takes longer than there is time."""
        if name == "long outage" and (self.done[name] or remaining < OUTAGE):
            return False  # once in a soak: it takes the time of many others
        needed = {"process stopped": STOP, "process stopped for long": LONG_STOP}.get(name)
        if needed is None:
            self.done[name] += 1
            await action()
            return True
        if needed > remaining:
            return False
        self.done[name] += 1
        self._background.append(asyncio.create_task(action()))
        return True

    async def _watch(self) -> None:
        """Note a takeover that no fault has caused: the machine was too slow for the servers."""
        if not self._deployment.leader():
            return
        known = self._deployment.leader()
        while True:
            await asyncio.sleep(0.3)
            if self._planned:
                known = ()
                continue
            leader = await asyncio.to_thread(self._deployment.leader)
            if known and leader and leader != known and not self._planned:
                async with self.fault(
                    "unplanned takeover", split=True, since=time.monotonic() - 15
                ):
                    self.done["unplanned takeover"] += 1
                    await asyncio.sleep(5)
            known = leader or known

    @contextlib.asynccontextmanager
    async def fault(self, kind: str, **details: Any) -> AsyncIterator[dict[str, Any]]:
        """Note the begin and the end of a fault; what is put into the dict is noted at the end."""
        note = self._journal.note("faults", "begin", kind=kind, **details)
        told: dict[str, Any] = {}
        try:
            yield told
        finally:
            note("end", **told)

    @contextlib.contextmanager
    def takeover(self) -> Any:
        """Expect that other servers lead afterwards."""
        self._planned = True
        try:
            yield
        finally:
            self._planned = False

    def some_server(self) -> EmbeddedServer:
        """Return one of the servers that run."""
        return self._chance.choice(self._deployment.running)

    def some_seconds(self, least: float, most: float) -> float:
        """Return a duration by chance."""
        return self._chance.uniform(least, most)

    # Faults of any deployment.

    async def connection_killed(self) -> None:
        """Kill one connection of a process."""
        server = self.some_server()
        with server.client() as client:
            ours = [each for each in client.client_list() if each["name"].startswith(NAMED)]
            if ours:
                async with self.fault("connection killed"):
                    client.client_kill_filter(_id=self._chance.choice(ours)["id"])

    async def scripts_flushed(self) -> None:
        """Let a server forget all scripts."""
        async with self.fault("scripts flushed"):
            for server in self._deployment.running:
                command(server, "SCRIPT", "FLUSH")

    async def memory_full(self) -> None:
        """Let all servers refuse to store anything."""
        async with self.fault("memory full"):
            for server in self._deployment.running:
                command(server, "CONFIG", "SET", "maxmemory", "1")
            await asyncio.sleep(self.some_seconds(1, 5))
            for server in self._deployment.running:
                command(server, "CONFIG", "SET", "maxmemory", "0")

    async def server_paused(self) -> None:
        """Let a server answer nothing, with all connections open."""
        server = self.some_server()
        most = 7.0 if isinstance(self._deployment, Plain) else 2.0
        async with self.fault("server paused", silent=True):
            server.pause()
            try:
                await asyncio.sleep(self.some_seconds(0.5, most))
            finally:
                server.resume()

    async def process_killed(self) -> None:
        """Kill a process, and start another in its place."""
        # Never the first one, whose figures are compared.
        indexes = sorted(set(range(1, self._fleet.size)) - self._fleet.stopped)
        if not indexes:
            return
        index = self._chance.choice(indexes)
        async with self.fault("process killed", process=self._fleet.name(index), killed=True):
            await self._fleet.kill(index)
        async with self.fault("process started"):
            await self._fleet.start(index)

    async def process_stopped(self) -> None:
        """Stop a process for less than a message lives."""
        await self._stop_process("process stopped", STOP)

    async def process_stopped_for_long(self) -> None:
        """Stop a process for longer than a message lives, and its heartbeat counts."""
        await self._stop_process("process stopped for long", LONG_STOP)

    async def _stop_process(self, kind: str, seconds: float) -> None:
        index = self._chance.choice(sorted(set(range(self._fleet.size)) - self._fleet.stopped))
        async with self.fault(kind, process=self._fleet.name(index), silent=True):
            await self._fleet.stop(index, seconds)

    # Faults of single servers, and of the network in front of them.

    async def connections_closed(self) -> None:
        """Close all connections at once, in one of two ways."""
        proxy = self._chance.choice(self.deployment.proxies)
        async with self.fault("connections closed"):
            self._chance.choice((proxy.cut, proxy.reset))()

    async def reply_lost(self) -> None:
        """Lose one reply, with its connection, or with all that follows on it."""
        proxy = self._chance.choice(self.deployment.proxies)
        cut = self._chance.random() < 0.6
        word = self._chance.choice((None, b"EVALSHA", b"BZPOPMIN", b"PUBLISH", b"SUBSCRIBE"))
        async with self.fault("reply lost", silent=not cut):
            loss = proxy.lose_reply(word, cut=cut)
            with contextlib.suppress(asyncio.TimeoutError):
                await asyncio.wait_for(loss.happened.wait(), 3)
            loss.happened.set()  # and is not to happen later, outside of the fault
            if not cut:
                # No more than the time in which a layer gives such a connection up.
                await asyncio.sleep(self.some_seconds(0, 12))
                proxy.resume()

    async def network_silent(self) -> None:
        """Let nothing pass for a while, in one or both directions, with all connections open."""
        await self._silence(self.some_seconds(1, 8))

    async def network_silent_for_long(self) -> None:
        """Likewise, for longer than it takes to notice."""
        await self._silence(self.some_seconds(27, 32))

    async def _silence(self, seconds: float) -> None:
        proxy = self._chance.choice(self.deployment.proxies)
        requests, replies = self._chance.choice(((True, True), (True, False), (False, True)))
        async with self.fault("network silent", silent=True):
            proxy.stall(requests=requests, replies=replies, new=self._chance.random() < 0.5)
            await asyncio.sleep(seconds)
            proxy.resume()

    async def long_outage(self) -> None:
        """Let no process reach any server, which all keep what they have."""
        async with self.fault("long outage", silent=True):
            for proxy in self.deployment.proxies:
                proxy.stall(new=True)
            await asyncio.sleep(OUTAGE)
            for proxy in self.deployment.proxies:
                proxy.resume()

    async def network_slow(self) -> None:
        """Let everything pass late."""
        proxy = self._chance.choice(self.deployment.proxies)
        async with self.fault("network slow"):
            proxy.delay(self.some_seconds(0.02, 0.3))
            await asyncio.sleep(self.some_seconds(3, 8))
            proxy.delay(0)

    async def restarted_empty(self) -> None:
        """Take all that a server holds, and leave it away for a while."""
        server = self.some_server()
        async with self.fault("restarted empty", since=FOREVER_AGO):
            await asyncio.to_thread(server.kill)
            for file in server.directory.glob("*"):
                if file.name == "appendonlydir":
                    shutil.rmtree(file)
            (server.directory / "dump.rdb").unlink(missing_ok=True)
            await asyncio.sleep(self.some_seconds(0, 6))
            await asyncio.to_thread(server.start)

    async def restarted_with_file(self) -> None:
        """Kill a server with an append-only file, which it reads at its next start."""
        server = self.some_server()
        async with self.fault("restarted with AOF", since=time.monotonic() - SYNC):
            await asyncio.to_thread(server.kill)
            await asyncio.sleep(self.some_seconds(0, 4))
            await asyncio.to_thread(server.start)

    async def restarted_from_snapshot(self) -> None:
        """Bring a server back as it was some seconds ago."""
        server = self.some_server()
        async with self.fault("snapshot"):
            since = time.monotonic()
            command(server, "SAVE")
        await asyncio.sleep(self.some_seconds(1, 5))
        async with self.fault("restarted from a snapshot", since=since):
            await asyncio.to_thread(server.kill)
            await asyncio.sleep(self.some_seconds(0, 4))
            await asyncio.to_thread(server.start)

    async def restarted_saved(self) -> None:
        """Restart a server that saves all it has."""
        server = self.some_server()
        async with self.fault("restarted, saved") as told:
            # SHUTDOWN with `save ""` saves nothing, so what comes between the two is lost.
            told["since"] = time.monotonic()
            await asyncio.to_thread(server.restart, empty=False)

    # Faults of Sentinel.

    async def failover(self) -> None:
        """Let the Sentinels make the replica the master, with both alive."""
        with self.takeover():
            old = await self._leader()
            async with self.fault("failover", split=True, since=time.monotonic() - LAG):
                self.deployment.group.fail_over()
                await self._taken_over(old)
                await eventually(lambda: role(old) == "slave", timeout=TAKEOVER)

    async def master_killed(self) -> None:
        """Kill the master, and let it come back as a replica."""
        with self.takeover():
            old = await self._leader()
            async with self.fault("master killed", since=time.monotonic() - LAG):
                await self._replace_master(old)

    async def tail_lost(self) -> None:
        """Kill the master while its replica has not heard of it for some seconds."""
        with self.takeover():
            old = await self._leader()
            (replica,) = [one for one in self.deployment.servers if one is not old]
            async with self.fault("master killed, tail lost", since=time.monotonic()):
                # It tries to log in at the master, which has no password, and gets no further.
                command(replica, "CONFIG", "SET", "masterauth", "wrong")
                command(replica, "CLIENT", "KILL", "TYPE", "master")
                await asyncio.sleep(self.some_seconds(0.5, 2))
                await self._replace_master(old)
                command(replica, "CONFIG", "SET", "masterauth", "")

    async def _leader(self) -> EmbeddedServer:
        port = (await eventually(self._deployment.leader, timeout=TAKEOVER))[0]
        return next(one for one in self._deployment.servers if one.port == port)

    async def _replace_master(self, old: EmbeddedServer) -> None:
        await asyncio.to_thread(old.kill)
        await self._taken_over(old)
        await asyncio.to_thread(old.start)
        await eventually(lambda: role(old) == "slave", timeout=TAKEOVER)

    async def _taken_over(self, old: EmbeddedServer) -> None:
        (other,) = [one for one in self._deployment.servers if one is not old]

        async def leads() -> bool:
            leader = await asyncio.to_thread(self._deployment.leader)
            return leader == (other.port,) and role(other) == "master"

        await eventually(leads, timeout=TAKEOVER)

    # Faults of a Cluster.

    async def slot_moved(self) -> None:
        """Move a slot with something in it to another node."""
        cluster = self.deployment.cluster
        groups = ("asgi:group:all", "asgi:group:room-1", "asgijobs")
        slot = key_slot(self._chance.choice(groups).encode())
        masters = self._deployment.masters
        source = next(node for node in masters if _owns(node, slot))
        target = self._chance.choice([node for node in masters if node is not source])
        async with self.fault("slot moved"):
            cluster.begin_move(slot, source, target)
            await asyncio.sleep(self.some_seconds(0, 2))
            await asyncio.to_thread(cluster.move_keys, slot, source, target)
            await asyncio.sleep(self.some_seconds(0, 1))
            cluster.end_move(slot, target)

    async def node_killed(self) -> None:
        """Kill a node, let its replica take over, and start it again."""
        with self.takeover():
            masters = self._deployment.masters
            old = self._chance.choice(masters)
            async with self.fault("node killed", since=time.monotonic() - LAG):
                await asyncio.to_thread(old.kill)

                def taken_over() -> bool:
                    living = self._deployment.masters
                    return len(living) >= len(masters) and all(map(_is_healthy, living))

                await eventually(lambda: asyncio.to_thread(taken_over), timeout=TAKEOVER)
                await asyncio.to_thread(old.start)
                await eventually(lambda: role(old) == "slave", timeout=TAKEOVER)
                await eventually(lambda: _is_in_sync(old), timeout=TAKEOVER)


def faults_of(nemesis: Nemesis, only: Sequence[str] = ()) -> dict[str, Action]:
    """Return the faults that a deployment can have, by name, or those that are named.

    Raises:
        ValueError: It can't have one that is named.
    """
    one, deployment = nemesis, nemesis.deployment
    found: dict[str, Action] = {
        "connection killed": one.connection_killed,
        "another connection killed": one.connection_killed,
        "scripts flushed": one.scripts_flushed,
        "memory full": one.memory_full,
        "server paused": one.server_paused,
        "process killed": one.process_killed,
        "process stopped": one.process_stopped,
        "process stopped for long": one.process_stopped_for_long,
    }
    if isinstance(deployment, Plain):
        found |= {
            "connections closed": one.connections_closed,
            "reply lost": one.reply_lost,
            "another reply lost": one.reply_lost,
            "network silent": one.network_silent,
            "network silent for long": one.network_silent_for_long,
            "network slow": one.network_slow,
            "long outage": one.long_outage,
            "restarted empty": one.restarted_empty,
            **(
                {"restarted with AOF": one.restarted_with_file}
                if deployment.durable
                else {
                    "restarted from a snapshot": one.restarted_from_snapshot,
                    "restarted, saved": one.restarted_saved,
                }
            ),
        }
    elif isinstance(deployment, Sentinel):
        found |= {
            "failover": one.failover,
            "master killed": one.master_killed,
            "tail lost": one.tail_lost,
        }
    elif isinstance(deployment, Cluster):
        found |= {
            "slot moved": one.slot_moved,
            "another slot moved": one.slot_moved,
            "node killed": one.node_killed,
        }
    if unknown := sorted(set(only) - set(found)):
        message = f"there is no fault {', '.join(unknown)} here; there are: {', '.join(found)}"
        raise ValueError(message)
    return {name: action for name, action in found.items() if not only or name in only}


def _owns(node: EmbeddedServer, slot: int) -> bool:
    """Return whether a node itself says that a slot is its own."""
    name = command(node, "CLUSTER", "MYID")
    return any(
        first <= slot <= last and master[2] == name
        for first, last, master, *_ in command(node, "CLUSTER", "SLOTS")
    )


def _is_healthy(node: EmbeddedServer) -> bool:
    return b"cluster_state:ok" in command(node, "CLUSTER", "INFO")


def _is_in_sync(node: EmbeddedServer) -> bool:
    role = command(node, "ROLE")
    return bool(role[0] == b"slave" and role[3] == b"connected")
