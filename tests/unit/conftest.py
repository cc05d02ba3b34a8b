"""Settings and rules of the state machines: few examples, the same every time."""

from __future__ import annotations

import sys
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import precondition, rule

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator

settings.register_profile(
    "tests",
    derandomize=True,
    database=None,
    deadline=None,
    max_examples=100,
    stateful_step_count=60,
)
settings.load_profile("tests")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Allow state machines the time that thousands of steps need on a busy machine."""
    for item in items:
        if item.name == "runTest":
            item.add_marker(pytest.mark.timeout(300))


def rule_on(
    name: str, find: Callable[[Any], Collection[Any]], **more: Any
) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Return the decorator of a rule about one thing of many, for when there are any.

    Args:
        name: The argument that gets the thing.
        find: Returns all of them, in an order that does not change from run to run.
        more: The strategies of further arguments.
    """
    more[name] = st.runner().flatmap(lambda machine: st.sampled_from([*find(machine)]))

    decorated: Any = rule(**more)

    def decorate(method: Callable[..., None]) -> Callable[..., None]:
        made: Callable[..., None] = decorated(method)
        return precondition(lambda machine: bool(find(machine)))(made)

    return decorate


def check_linear(seconds: Callable[[int], float], few: int) -> None:
    """Check that four times as much takes about four times as long."""
    fast, slow = (min(seconds(count) for _ in range(3)) for count in (few, 4 * few))
    assert slow < 9 * fast


@contextmanager
def another_thread(work: Callable[[], object]) -> Iterator[None]:
    """Do something again and again in a thread, which may be interrupted anywhere."""
    ended, interval = threading.Event(), sys.getswitchinterval()

    def run() -> None:
        while not ended.is_set():
            work()

    thread = threading.Thread(target=run)
    sys.setswitchinterval(1e-6)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()
        sys.setswitchinterval(interval)
