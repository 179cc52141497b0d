"""How busy this machine is, for times that are requirements: they are meant for one with nothing else to do."""

from __future__ import annotations

import resource
import subprocess
import sys
import time


def slowness() -> float:
    """How many times as long as alone a program takes here at present: elapsed by CPU time of one that is tried."""
    before, began = resource.getrusage(resource.RUSAGE_CHILDREN), time.monotonic()
    subprocess.run([sys.executable, "-I", "-c", "import asyncio"], check=True, capture_output=True)
    elapsed, after = time.monotonic() - began, resource.getrusage(resource.RUSAGE_CHILDREN)
    return max(1.0, elapsed / (after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime))


def is_in_time(began: float, seconds: float) -> bool:
    """Whether less than `seconds` of an idle machine have passed since `began` (time.monotonic())."""
    elapsed = time.monotonic() - began
    return elapsed < seconds or elapsed < seconds * slowness()
