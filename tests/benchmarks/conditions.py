"""The machine that a run measures on."""

from __future__ import annotations

import os
import platform
import time
from pathlib import Path
from typing import Any


def conditions() -> dict[str, Any]:
    """Return what this machine is, and how busy it is now."""
    cpus = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    models = {line.partition(":")[2].strip() for line in cpus if line.startswith("model name")}
    pages = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    return {
        "machine": ", ".join(sorted(models)) or platform.machine(),
        "cpus": os.cpu_count(),
        "memory": f"{pages / 2**30:.0f} GiB",
        "system": f"{platform.system()} {platform.release()}",
        "python": platform.python_version(),
        "started": time.strftime("%Y-%m-%d %H:%M %Z"),
        "load": round(os.getloadavg()[0], 2),
    }
