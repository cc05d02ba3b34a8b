"""A soak of some seconds: it breaks what it says, and finds what is broken on purpose."""

from __future__ import annotations

import asyncio
import json
import os
from typing import TYPE_CHECKING

import pytest

from soak.__main__ import lines_of, report
from soak.checker import check
from soak.history import read
from soak.run import Choices, Plan, soak

if TYPE_CHECKING:
    from pathlib import Path

    from soak.run import Result

pytestmark = pytest.mark.skipif(os.name != "posix", reason="processes are stopped by signals")

BRIEF = Plan(warm_up=1, faults=4, flow=2, drain=3)
# Those that last no longer than a moment.
FAULTS = ("connection killed", "connections closed", "process killed", "scripts flushed")


async def short(layer: str, folder: Path, sabotage: str = "", *, recovery: bool = False) -> Result:
    """Run a soak of some seconds."""
    choices = Choices(
        layer,
        "one",
        7,
        BRIEF,
        nemesis=FAULTS,
        sabotage=sabotage,
        odds=0.05,
        recovery=recovery,
    )
    return await asyncio.wait_for(soak(choices, folder), 50)


@pytest.mark.parametrize("layer", ["queue", "pubsub"])
@pytest.mark.slow
async def test_a_short_soak(layer: str, tmp_path: Path) -> None:
    """Messages of each kind are sent, faults happen, and no promise is broken."""
    result = await short(layer, tmp_path, recovery=True)
    assert lines_of(result.violations) == []
    summary = json.loads(json.dumps(result.summary()))
    assert summary["sent"] > 20
    assert summary["received"] > 20
    assert sum(summary["faults"].values()) > 0
    assert {send.kind for send in result.history.sends} == {
        "direct",
        "general",
        "group",
        "recoverable",
    }
    assert summary["recovery"]["shown"] > 20
    assert result.history.faults
    assert "violations: none" in report(result)


@pytest.mark.slow
async def test_a_sabotaged_soak(tmp_path: Path) -> None:
    """A message that is received twice is found, also when the journals are read once more."""
    result = await short("queue", tmp_path, "double", recovery=True)
    assert result.summary()["violations"]["never twice"] > 0
    assert check(read(tmp_path)) == result.violations
