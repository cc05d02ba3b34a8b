"""A pytest plugin that runs all tests on uvloop."""

from __future__ import annotations

import asyncio
import warnings

import pytest
import uvloop


def pytest_configure() -> None:
    """Make every new event loop one of uvloop's."""
    with warnings.catch_warnings():
        # Newer Pythons would rather have a loop factory, which pytest-asyncio has no option for.
        warnings.simplefilter("ignore", DeprecationWarning)
        asyncio.set_event_loop_policy(uvloop.EventLoopPolicy())


def pytest_report_header() -> str:
    """Say so."""
    return "on uvloop"


@pytest.fixture(autouse=True)
def _is_on_uvloop() -> None:
    """Fail where the policy has not taken effect."""
    loop = asyncio.new_event_loop()
    loop.close()
    assert isinstance(loop, uvloop.Loop)
