"""Prints how long importing a module takes beyond Channels and redis-py, in ms of processor time.

Runs in an environment of its own. Processor time, since the machine may be busy with other things.
"""

from __future__ import annotations

import sys
import time
from importlib import import_module

for known in ("asyncio", "channels.exceptions", "channels.layers", "redis.asyncio"):
    import_module(known)
started = time.process_time()
import_module(sys.argv[1])
print(1000 * (time.process_time() - started))
