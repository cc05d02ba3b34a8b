"""The faults of a soak: by a seed, one after the other, each noted in a journal."""

from __future__ import annotations

import asyncio
import contextlib
import shutil
import time
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import redis
from redis.crc import key_slot

from embedded_server import HOST
from soak.deployments import AGREEMENT, Cluster, Plain, Sentinel, slots_of
from soak.fleet import NAMED
from support.cluster import command
from support.messages import cancel
from support.waiting import eventually

if TYPE_CHECKING:
    import random
    from collections.abc import AsyncIterator, Callable, Coroutine, Sequence

    from embedded_server import EmbeddedServer
    from soak.deployments import Deployment
    from soak.fleet import Fleet
    from soak.journal import Journal
    from support.cluster import EmbeddedCluster

# Seconds between two faults: mostly little, and now and then enough for all to recover.
SHORT_BREAK, LONG_BREAK = (1.0, 6.0), (11.0, 16.0)
LONG_BREAKS = 0.3
# The faults that take long, in seconds: less or more than a message lives, or a heartbeat counts.
LASTS = {
    "process stopped": 15.0,
    "process stopped for long": 90.0,
    "long outage": 75.0,
    "master demoted": 20.0,
    "scaled in": 45.0,
}
# Seconds that a replica may lag, and that an append-only file may be behind.
LAG = 1.0
SYNC = 2.0
# Seconds until a server that was replaced, and keeps its connections, has none that are in use:
# the 16 of docs/pubsub.md, and some for the machine.
FOUND = 18.0
FOREVER_AGO = -1e12  # the `since` of a server that forgets everything
# The faults of each deployment. Each is a method of `Nemesis`; what stands twice comes twice.
ANY = (
    *("connection killed", "connection killed", "scripts flushed", "memory full", "server paused"),
    *("process killed", "process stopped", "process stopped for long"),
)
FAULTS: dict[type[Deployment], tuple[str, ...]] = {
    Plain: (
        *(*ANY, "connections closed", "reply lost", "reply lost", "network silent"),
        *("network silent for long", "network slow", "long outage"),
        *("restarted empty", "restarted with data", "restarted with data", "master demoted"),
    ),
    Sentinel: (*ANY, "failover", "master killed", "tail lost"),
    Cluster: (*ANY, "slot moved", "slot moved", "master killed", "scaled in"),
}


@dataclass
class Nemesis:
    """Breaks things, and notes what and when.

    Args:
        deployment: The servers, of whatever kind a fault needs.
        fleet: The processes.
        journal: Gets the faults.
        chance: The source of all that is left to chance.
        only: The names of the faults to cause; without any, all that the deployment can have.

    Raises:
        ValueError: It can't have one that is named.
    """

    deployment: Any
    fleet: Fleet
    journal: Journal
    chance: random.Random
    only: Sequence[str] = ()
    done: Counter[str] = field(default_factory=Counter)
    _stopping: list[asyncio.Task[None]] = field(default_factory=list)
    _planned: bool = False

    def __post_init__(self) -> None:
        known, only = FAULTS[type(self.deployment)], set(self.only)
        if unknown := sorted(only.difference(known)):
            message = f"there is no fault {', '.join(unknown)} here; there are: {', '.join(known)}"
            raise ValueError(message)
        self._names = [name for name in known if not only or name in only]

    async def run(self, seconds: float) -> None:
        """Break something again and again for so long; return when all works."""
        until = time.monotonic() + seconds
        watching = asyncio.create_task(self._watch())
        try:
            while True:
                # All of them in some order, then all in another; first what takes longest.
                bag = self.chance.sample(self._names, len(self._names))
                for name in sorted(bag, key=lambda name: name != "process stopped for long"):
                    if time.monotonic() >= until:
                        return
                    if not await self._cause(name, until - time.monotonic()):
                        await asyncio.sleep(0.1)
                        continue
                    long = self.chance.random() < LONG_BREAKS
                    pause = self.chance.uniform(*(LONG_BREAK if long else SHORT_BREAK))
                    await asyncio.sleep(max(0.0, min(pause, until - time.monotonic())))
        finally:
            await asyncio.gather(*self._stopping)
            watching.cancel()
            await asyncio.wait([watching])

    async def close(self) -> None:
        """Cancel what goes on besides the others."""
        await cancel(*self._stopping)

    async def _cause(self, name: str, remaining: float) -> bool:
        """Cause a fault, unless it takes longer than there is time."""
        if LASTS.get(name, 0.0) > remaining or (name == "long outage" and self.done[name]):
            return False  # such an outage comes once in a soak: it takes the time of many others
        self.done[name] += 1
        cause: Callable[[], Coroutine[Any, Any, None]] = getattr(self, name.replace(" ", "_"))
        if name.startswith("process stopped"):
            self._stopping.append(asyncio.create_task(cause()))
        else:
            await cause()
        return True

    async def _watch(self) -> None:
        """Note a takeover that no fault has caused: the machine was too slow for the servers."""
        known = self.deployment.leaders()
        while not isinstance(self.deployment, Plain):
            await asyncio.sleep(0.3)
            if self._planned:
                known = ()
                continue
            leaders = await asyncio.to_thread(self.deployment.leaders)
            if known and leaders and leaders != known and not self._planned:
                since = time.monotonic() - 15
                async with self._fault("unplanned takeover", split=True, since=since):
                    self.done["unplanned takeover"] += 1
                    await asyncio.sleep(5)
            known = leaders or known

    @contextlib.asynccontextmanager
    async def _fault(self, kind: str, **details: Any) -> AsyncIterator[None]:
        """Note the begin and the end of a fault."""
        note = self.journal.note("faults", "begin", kind=kind, **details)
        try:
            yield
        finally:
            note("end")

    def _server(self) -> EmbeddedServer:
        """Return one of the servers that run."""
        running: list[EmbeddedServer] = self.deployment.running
        return self.chance.choice(running)

    async def _wait(self, least: float, most: float) -> None:
        """Let some seconds pass."""
        await asyncio.sleep(self.chance.uniform(least, most))

    # Faults of any deployment.

    async def connection_killed(self) -> None:
        """Kill one connection of a process."""
        with self._server().client() as client:
            ours = [each for each in client.client_list() if each["name"].startswith(NAMED)]
            if ours:
                async with self._fault("connection killed"):
                    client.client_kill_filter(_id=self.chance.choice(ours)["id"])

    async def scripts_flushed(self) -> None:
        """Let all servers forget all scripts."""
        async with self._fault("scripts flushed"):
            self._command_all("SCRIPT", "FLUSH")

    async def memory_full(self) -> None:
        """Let all servers refuse to store anything."""
        async with self._fault("memory full"):
            self._command_all("CONFIG", "SET", "maxmemory", "1")
            await self._wait(1, 5)
            self._command_all("CONFIG", "SET", "maxmemory", "0")

    def _command_all(self, *words: str) -> None:
        for server in self.deployment.running:
            command(server, *words)

    async def server_paused(self) -> None:
        """Let a server answer nothing, with all connections open."""
        server = self._server()
        async with self._fault("server paused", silent=True):
            server.pause()
            try:
                # Not so long that another one takes over.
                await self._wait(0.5, 7.0 if isinstance(self.deployment, Plain) else 2.0)
            finally:
                server.resume()

    async def process_killed(self) -> None:
        """Kill a process, and start another in its place."""
        # Never the first one, whose figures are compared.
        indexes = sorted(set(range(1, self.fleet.size)) - self.fleet.stopped)
        if not indexes:
            return
        index = self.chance.choice(indexes)
        async with self._fault("process killed", process=self.fleet.names[index], killed=True):
            await self.fleet.kill(index)
        async with self._fault("process started"):
            await self.fleet.start(index)

    async def process_stopped(self) -> None:
        """Stop a process for less than a message lives."""
        await self._stop_process("process stopped")

    async def process_stopped_for_long(self) -> None:
        """Stop a process for longer than a message lives, and its heartbeat counts."""
        await self._stop_process("process stopped for long")

    async def _stop_process(self, kind: str) -> None:
        index = self.chance.choice(sorted(set(range(self.fleet.size)) - self.fleet.stopped))
        async with self._fault(kind, process=self.fleet.names[index], silent=True):
            await self.fleet.stop(index, LASTS[kind])

    # Faults of single servers, and of the network in front of them.

    async def connections_closed(self) -> None:
        """Close all connections at once, in one of two ways."""
        proxy = self.chance.choice(self.deployment.proxies)
        async with self._fault("connections closed"):
            self.chance.choice((proxy.cut, proxy.reset))()

    async def reply_lost(self) -> None:
        """Lose one reply, with its connection, or with all that follows on it."""
        proxy = self.chance.choice(self.deployment.proxies)
        cut = self.chance.random() < 0.6
        word = self.chance.choice((None, b"EVALSHA", b"BZPOPMIN", b"PUBLISH", b"SUBSCRIBE"))
        async with self._fault("reply lost", silent=not cut):
            loss = proxy.lose_reply(word, cut=cut)
            with contextlib.suppress(asyncio.TimeoutError):
                await asyncio.wait_for(loss.happened.wait(), 3)
            loss.happened.set()  # and is not to happen later, outside of the fault
            if not cut:
                # No more than the time in which a layer gives such a connection up.
                await self._wait(0, 12)
                proxy.resume()

    async def network_silent(self) -> None:
        """Let nothing pass for a while, in one or both directions, with all connections open."""
        await self._silence("network silent", 1, 8)

    async def network_silent_for_long(self) -> None:
        """Likewise, for longer than it takes to notice."""
        await self._silence("network silent for long", 27, 32)

    async def _silence(self, kind: str, least: float, most: float) -> None:
        proxy = self.chance.choice(self.deployment.proxies)
        requests, replies = self.chance.choice(((True, True), (True, False), (False, True)))
        async with self._fault(kind, silent=True):
            proxy.stall(requests=requests, replies=replies, new=self.chance.random() < 0.5)
            await self._wait(least, most)
            proxy.resume()

    async def long_outage(self) -> None:
        """Let no process reach any server, which all keep what they have."""
        async with self._fault("long outage", silent=True):
            for proxy in self.deployment.proxies:
                proxy.stall(new=True)
            await asyncio.sleep(LASTS["long outage"])
            for proxy in self.deployment.proxies:
                proxy.resume()

    async def network_slow(self) -> None:
        """Let everything pass late."""
        proxy = self.chance.choice(self.deployment.proxies)
        async with self._fault("network slow"):
            proxy.delay = self.chance.uniform(0.02, 0.3)
            await self._wait(3, 8)
            proxy.delay = 0.0

    async def restarted_empty(self) -> None:
        """Take all that a server holds, and leave it away for a while."""
        server = self._server()

        def forget() -> None:
            shutil.rmtree(server.directory / "appendonlydir", ignore_errors=True)
            (server.directory / "dump.rdb").unlink(missing_ok=True)

        await self._restart("restarted empty", server, FOREVER_AGO, forget)

    async def restarted_with_data(self) -> None:
        """Bring a server back as its file says, or as it was just now or some seconds ago."""
        server, since = self._server(), time.monotonic()
        if self.deployment.durable:
            since -= SYNC
        else:
            command(server, "SAVE")
            await self._wait(0, self.chance.choice((0, 5)))
        await self._restart("restarted with data", server, since)

    async def _restart(
        self,
        kind: str,
        server: EmbeddedServer,
        since: float,
        meanwhile: Callable[[], object] = lambda: None,
    ) -> None:
        """Kill a server, and start it again.

        Args:
            kind: The fault's name.
            server: The server.
            since: It may forget what it did from then on.
            meanwhile: What happens to its files.
        """
        async with self._fault(kind, since=since):
            await asyncio.to_thread(server.kill)
            meanwhile()
            await self._wait(0, 5)
            await asyncio.to_thread(server.start)

    async def master_demoted(self) -> None:
        """Make a master the replica of a new one, to which its address leads from then on."""
        deployment = self.deployment
        at = self.chance.randrange(deployment.hosts)
        old, new = deployment.servers[at], deployment.standbys[at]
        _replicate(new, old)
        await eventually(lambda: _follows(new), timeout=AGREEMENT)
        async with self._fault("master demoted", since=time.monotonic() - LAG, split=True):
            command(new, "REPLICAOF", "NO", "ONE")
            _replicate(old, new)
            deployment.proxies[at].server_port = new.port
            deployment.servers[at], deployment.standbys[at] = new, old
        async with self._fault("former master", split=True):
            await self._leave_connected(old)

    async def _leave_connected(self, server: EmbeddedServer) -> None:
        """Let a server that is no longer in charge have its connections until they are given up.

        With Pub/Sub, other servers do not hear what is published there.
        """
        # A stopped process gives them up later.
        stopped = {self.fleet.names[index] for index in self.fleet.stopped}
        with server.client() as client:
            for each in client.client_list():
                if each["name"] in stopped:
                    client.client_kill_filter(_id=each["id"])
        await asyncio.sleep(FOUND)

    # Faults of masters with replicas.

    async def failover(self) -> None:
        """Let the Sentinels make the replica the master, with both alive."""
        await self._replace("failover", self.deployment.group.fail_over, split=True)

    async def master_killed(self) -> None:
        """Kill a master, and let it come back as a replica."""
        await self._replace("master killed")

    async def tail_lost(self) -> None:
        """Kill the master while its replica has not heard of it for some seconds."""
        (replica,) = set(self.deployment.running) - set(self.deployment.masters)
        since = time.monotonic()
        # It tries to log in at the master, which has no password, and gets no further.
        command(replica, "CONFIG", "SET", "masterauth", "wrong")
        command(replica, "CLIENT", "KILL", "TYPE", "master")
        await self._wait(0.5, 2)
        await self._replace("tail lost", since=since)
        command(replica, "CONFIG", "SET", "masterauth", "")
        # A Sentinel has had the wrong one written down, for the next start.
        command(replica, "CONFIG", "REWRITE")

    async def _replace(
        self,
        kind: str,
        demote: Callable[[], object] | None = None,
        *,
        since: float | None = None,
        split: bool = False,
    ) -> None:
        """Let the replica of a master take over, and the master become its replica.

        Args:
            kind: The fault's name.
            demote: What does it with both alive; without it, the master is killed.
            since: What the master did from then on is lost; without it, what replicas may lag.
            split: Whether both take themselves for the master meanwhile.
        """
        self._planned = True
        since = time.monotonic() - LAG if since is None else since
        await eventually(self._leaders, timeout=AGREEMENT)
        old: EmbeddedServer = self.chance.choice(self.deployment.masters)
        async with self._fault(kind, since=since, split=split):
            await asyncio.to_thread(demote or old.kill)
            await eventually(lambda: self._leaders_without(old), timeout=AGREEMENT)
            await asyncio.to_thread(old.start)
            await eventually(lambda: _follows(old), timeout=AGREEMENT)
        self._planned = False

    async def _leaders(self) -> tuple[int, ...]:
        leaders: tuple[int, ...] = await asyncio.to_thread(self.deployment.leaders)
        return leaders

    async def _leaders_without(self, old: EmbeddedServer) -> bool:
        leaders = await self._leaders()
        return bool(leaders) and old.port not in leaders

    # Faults of a Cluster.

    async def slot_moved(self) -> None:
        """Move a slot with something in it to another node."""
        cluster: EmbeddedCluster = self.deployment.cluster
        key = self.chance.choice(("asgi:group:all", "asgi:group:room-1", "asgijobs"))
        slot, source = key_slot(key.encode()), cluster.master_of(key)
        target = self.chance.choice([one for one in self.deployment.masters if one is not source])
        async with self._fault("slot moved"):
            cluster.begin_move(slot, source, target)
            await self._wait(0, 2)
            await asyncio.to_thread(cluster.move_keys, slot, source, target)
            await self._wait(0, 1)
            cluster.end_move(slot, target)

    async def scaled_in(self) -> None:
        """Move all slots of a master away, let it leave with its replica, and take both back."""
        deployment: Cluster = self.deployment
        self._planned = True
        await eventually(self._leaders, timeout=AGREEMENT)
        source, *targets = self.chance.sample(deployment.masters, len(deployment.masters))
        replica = next(each for each in deployment.servers if _replicates(each, source))
        slots = sorted(slots_of(source, source))
        middle = len(slots) // 2
        halves = list(zip((set(slots[:middle]), set(slots[middle:])), targets, strict=True))
        async with self._fault("scaled in"):
            for half, target in halves:
                await deployment.move(half, source, target)
        async with self._fault("former node", split=True):
            await deployment.remove(source, replica)
            await self._leave_connected(source)
        async with self._fault("scaled out"):
            await deployment.add(source, replica)
            for half, target in halves:
                await deployment.move(half, target, source)
            await eventually(lambda: _follows(replica), timeout=AGREEMENT)
            await eventually(self._leaders, timeout=AGREEMENT)
        self._planned = False


def _follows(server: EmbeddedServer) -> bool:
    """Return whether a server is a replica in sync with its master."""
    # It closes all connections as it becomes one.
    with contextlib.suppress(redis.ConnectionError):
        role = command(server, "ROLE")
        return bool(role[0] == b"slave" and role[3] == b"connected")
    return False


def _replicates(server: EmbeddedServer, master: EmbeddedServer) -> bool:
    """Return whether a server is a replica of a master."""
    return bool(command(server, "ROLE")[:3:2] == [b"slave", master.port])


def _replicate(server: EmbeddedServer, master: EmbeddedServer) -> None:
    command(server, "REPLICAOF", HOST, master.port)
