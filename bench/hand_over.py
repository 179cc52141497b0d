"""How long a slot is nobody's between two holders: a queue of real processes, each served after the one before it."""

from __future__ import annotations

import statistics
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "tests" / "integration"))

from storm import storm

WAITERS = 30


def hand_over(rounds: int) -> dict[str, float]:
    """Median and 99th percentile over all hand-overs of `rounds` queues, in seconds."""
    samples: list[float] = []
    for _ in range(rounds):
        with tempfile.TemporaryDirectory(prefix="hut-ci-bench-") as folder:
            Path(folder, "locks").mkdir(0o700)
            samples += storm(Path(folder, "locks"), WAITERS, [None]).hand_overs
    p99 = statistics.quantiles(samples, n=100, method="inclusive")[98]
    return {"slot hand-over median": statistics.median(samples), "slot hand-over p99": p99}
