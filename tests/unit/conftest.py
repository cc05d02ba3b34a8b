"""Settings of Hypothesis for the state machines: few examples, the same every time."""

from __future__ import annotations

from hypothesis import settings

settings.register_profile(
    "tests",
    derandomize=True,
    database=None,
    deadline=None,
    max_examples=100,
    stateful_step_count=60,
)
settings.load_profile("tests")
