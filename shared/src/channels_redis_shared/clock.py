"""The clock of every deadline that is not the event loop's.

Tests of projects freeze the time: freezegun replaces `time.monotonic`, and with it the clock of
asyncio's event loops, by the frozen date. A deadline that was set before would be decades late.
"""

from __future__ import annotations

import time
from functools import partial
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

# Seconds; never set back, and not frozen. Windows has no clock_gettime.
monotonic: Callable[[], float] = (
    partial(time.clock_gettime, time.CLOCK_MONOTONIC)
    if hasattr(time, "clock_gettime")
    else time.monotonic
)
