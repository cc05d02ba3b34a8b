"""The files of the page on production do what it says."""

from __future__ import annotations

import asyncio
import json
import re
import shlex
import shutil
import signal
import subprocess
import sys
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import pytest
import yaml
from websockets.exceptions import ConnectionClosed

from embedded_server import HOST, EmbeddedServer
from support import programs
from support.environments import missing
from support.sites import DEADLINE, client, free_port, running, start_project
from support.waiting import eventually

if TYPE_CHECKING:
    from pathlib import Path

URLS = """
from mysite.health import alive, ready
urlpatterns += [path("alive/", alive), path("ready/", ready)]
"""


@pytest.fixture
def project(tmp_path: Path, redis_server: EmbeddedServer) -> Path:
    """The quick start's project with the files of the page."""
    start_project(tmp_path, "quickstart.md", "production.md", url=redis_server.url)
    with (tmp_path / "mysite/urls.py").open("a") as urls:
        urls.write(URLS)
    return tmp_path


def uvicorn(port: int, project: Path) -> Any:
    """Run the project as the unit does, which names the port."""
    unit = (project / "mysite@.service").read_text()
    (start,) = re.findall(r"^ExecStart=\S+/uvicorn (.+)$", unit, re.MULTILINE)
    options = shlex.split(start.replace("%i", str(port)))
    return running(sys.executable, "-m", "uvicorn", *options, cwd=project)


async def fetch(port: int, path: str) -> tuple[int, str]:
    """Return the status and the body of a page; wait until the server listens."""

    async def opened() -> tuple[asyncio.StreamReader, asyncio.StreamWriter] | None:
        with suppress(OSError):
            return await asyncio.open_connection(HOST, port)
        return None

    streams = await eventually(opened, DEADLINE)
    assert streams
    reader, writer = streams
    writer.write(f"GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n".encode())
    answer = (await asyncio.wait_for(reader.read(), DEADLINE)).decode()
    writer.close()
    return int(answer.split()[1]), answer.partition("\r\n\r\n")[2]


@pytest.mark.parametrize("proxy", ["nginx", "caddy"])
@pytest.mark.slow
async def test_proxy(project: Path, proxy: str) -> None:
    """It passes WebSockets on to both processes, and requests."""
    program = shutil.which(proxy) or ""
    if not program:
        missing(f"{proxy} is not on PATH")
    ports = {"8001": free_port(), "8002": free_port(), "80": free_port()}
    file = project / {"nginx": "mysite.conf", "caddy": "Caddyfile"}[proxy]
    text = file.read_text()
    for name, port in ports.items():
        text = re.sub(rf"(listen |:){name}\b", rf"\g<1>{port}", text)
    file.write_text(text)
    commands = {
        "nginx": [program, "-e", "stderr", "-p", str(project), "-c", str(wrapped(project))],
        "caddy": [program, "run", "--adapter", "caddyfile", "--config", str(file)],
    }
    async with (
        uvicorn(ports["8001"], project),
        uvicorn(ports["8002"], project),
        running(*commands[proxy], cwd=project),
    ):
        for name in ("8001", "8002"):
            assert (await fetch(ports[name], "/alive/"))[0] == 200
        assert (await fetch(ports["80"], "/alive/"))[1].endswith("alive")
        browsers = [await client(ports["80"]) for _ in range(4)]
        await browsers[0].send(json.dumps({"text": "Hello"}))
        for browser in browsers:
            said = json.loads(await asyncio.wait_for(browser.recv(), DEADLINE))
            assert said == {"text": "Hello"}
            await browser.close()


def wrapped(project: Path) -> Path:
    """Put the file for nginx's `conf.d` into a whole configuration."""
    paths = "".join(
        f"{kind}_temp_path {project}/{kind};"
        for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    )
    whole = project / "nginx.conf"
    whole.write_text(
        f"daemon off; pid {project}/nginx.pid; error_log stderr; events {{}}\n"
        f"http {{ access_log off; {paths} include {project}/mysite.conf; }}"
    )
    return whole


@pytest.mark.slow
async def test_deploying(project: Path) -> None:
    """On SIGTERM a server process closes its WebSockets with 1012, and ends."""
    port = free_port()
    async with uvicorn(port, project) as process:
        browser = await client(port)
        process.send_signal(signal.SIGTERM)
        with pytest.raises(ConnectionClosed) as closed:
            await asyncio.wait_for(browser.recv(), DEADLINE)
        assert closed.value.rcvd
        assert closed.value.rcvd.code == 1012
        await asyncio.wait_for(process.wait(), DEADLINE)


@pytest.mark.slow
async def test_health(project: Path) -> None:
    """A process without Redis is alive, and not ready."""
    port = free_port()
    with EmbeddedServer() as own:
        settings = project / "mysite/settings.py"
        settings.write_text(re.sub(r"redis://[^\"]+", own.url, settings.read_text()))
        async with uvicorn(port, project):
            assert await fetch(port, "/ready/") == (200, "ready")
            own.kill()
            assert (await fetch(port, "/ready/"))[0] == 503
            assert await fetch(port, "/alive/") == (200, "alive")


def test_redis_conf(project: Path) -> None:
    """Redis starts with these settings."""
    with EmbeddedServer((project / "redis.conf").read_text()) as server, server.client() as client:
        assert client.ping()


def test_units(project: Path) -> None:
    """The service manager finds nothing wrong with the unit."""
    verify = shutil.which("systemd-analyze")
    if verify is None:
        pytest.skip("systemd-analyze is not on PATH")
    unit = project / "mysite@8001.service"
    text = (project / "mysite@.service").read_text()
    text = re.sub(r"/srv/mysite/.venv/bin/uvicorn", sys.executable, text)
    unit.write_text(text.replace("User=mysite", "User=root").replace("/srv/mysite", str(project)))
    done = subprocess.run(
        [verify, "verify", str(unit)], capture_output=True, text=True, check=False
    )
    assert [line for line in done.stderr.splitlines() if unit.name in line] == []
    assert done.returncode == 0, done.stderr


def test_compose(project: Path) -> None:
    """Its services exist, and the server and the file's format know each option."""
    services = yaml.safe_load((project / "compose.yml").read_text())["services"]
    assert services["web"]["depends_on"].keys() <= services.keys()
    assert "web:8000" in services["proxy"]["command"]
    options = [word for word in shlex.split(services["web"]["command"]) if word.startswith("--")]
    known = programs.run("-m", "uvicorn", "--help").out
    assert [option for option in options if option not in known] == []
    if compose := shutil.which("docker-compose"):
        check = [compose, "--file", "compose.yml", "config", "--quiet"]
        done = subprocess.run(check, cwd=project, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
