"""How Hypothesis runs the state machines: the same examples every time, and not many."""

from __future__ import annotations

from hypothesis import settings

settings.register_profile(
    "tests",
    derandomize=True,
    database=None,
    deadline=None,
    max_examples=200,
    stateful_step_count=60,
)
settings.load_profile("tests")
