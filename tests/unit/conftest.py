"""Settings of Hypothesis for the state machines: few examples, the same every time."""

from __future__ import annotations

import sys
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING

from hypothesis import settings

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

settings.register_profile(
    "tests",
    derandomize=True,
    database=None,
    deadline=None,
    max_examples=100,
    stateful_step_count=60,
)
settings.load_profile("tests")


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
