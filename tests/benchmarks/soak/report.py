"""Reports of a soak: a table, and JSON for a plot."""

from __future__ import annotations

import platform
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

from benchmarks.soak.ledger import FAULTS

if TYPE_CHECKING:
    from collections.abc import Sequence

    from benchmarks.soak.soaking import Soak
    from embedded_server import EmbeddedServer

SHOWN = 10  # messages that came twice or were lost


def table(soaks: Sequence[Soak]) -> str:
    """Return what each soak has come to."""
    return "\n\n".join("\n".join(_lines(soak)) for soak in soaks)


def progress(soaks: Sequence[Soak]) -> str:
    """Return one line that tells where each soak is."""
    parts = []
    for soak in soaks:
        keeper = next((s for s in reversed(soak.samples) if s["worker"] == 0), None)
        told = (
            ""
            if keeper is None
            else (
                f" {keeper['t']:.0f} s, {keeper['rss'] / 2**20:.1f} MiB, {keeper['tasks']} tasks, "
                f"{keeper['connections']} connections"
            )
        )
        parts.append(f"{soak.layer}: {soak.phase}{told}")
    return " | ".join(parts)


def document(soaks: Sequence[Soak], minutes: float, server: EmbeddedServer) -> dict[str, Any]:
    """Return everything, as JSON has it."""
    return {
        "layers": {
            soak.layer: {
                "samples": soak.samples,
                "calms": soak.readings,
                "verdicts": [verdict.figures() for verdict in soak.verdicts()],
                "messages": soak.ledger.figures(),
                "faults": soak.faults,
            }
            for soak in soaks
        },
        "minutes": minutes,
        "versions": versions(server),
    }


def versions(server: EmbeddedServer) -> dict[str, str]:
    """Return what the soak ran on."""
    with server.client() as client:
        info = client.info("server")
    name = info.get("server_name", "redis")
    return {
        "python": platform.python_version(),
        "redis-py": version("redis"),
        "channels": version("channels"),
        name: info.get(f"{name}_version", info["redis_version"]),
    }


def _lines(soak: Soak) -> list[str]:
    lines = [
        f"{soak.layer}: calm {soak.plan.first + 1} beside calm {soak.plan.cycles}",
        f"  {'quantity':<16}{'first':>12}{'last':>12}{'limit':>12}  verdict",
    ]
    lines += [
        f"  {verdict.quantity:<16}{verdict.first:>12,}{verdict.last:>12,}{verdict.limit:>12,}  "
        + ("flat" if verdict.flat else "GREW")
        for verdict in soak.verdicts()
    ]
    for told in (soak.ledger.figures(), soak.faults):
        lines.append("  " + ", ".join(f"{name}: {count:,}" for name, count in told.items()))
    lines += [f"  twice: {message} to {who}" for message, who in soak.ledger.twice()[:SHOWN]]
    lost = [loss for loss in soak.ledger.lost() if loss.when != FAULTS]
    lines += [
        f"  lost in {loss.when}: {loss.message}, for {loss.audience}, by {loss.missing}"
        for loss in lost[:SHOWN]
    ]
    return lines
