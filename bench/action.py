"""What the two steps of action.yml cost over the command that they carry, on a host that has the installation."""

from __future__ import annotations

import os
import statistics
import subprocess
import tempfile
import time
from pathlib import Path

import yaml

ROOT = Path(__file__).parents[1]
SHELL = ("bash", "--noprofile", "--norc", "-e", "-o", "pipefail", "-c")
"""As a runner starts a step with `shell: bash` (GitHub docs: "Workflow syntax")."""
JOBS = 5


def action(rounds: int) -> dict[str, float]:
    """Seconds: the first job of a host, which installs, and later ones, the median over rounds of the best of each."""
    setup, run = (step["run"] for step in yaml.safe_load((ROOT / "action.yml").read_text("utf-8"))["runs"]["steps"])
    with tempfile.TemporaryDirectory(prefix="hut-ci-bench-") as folder:
        outputs = Path(folder, "outputs")
        environ = {
            **os.environ,
            "GITHUB_ACTION_PATH": str(ROOT),
            "GITHUB_OUTPUT": str(outputs),
            "HUT_CI_ENV_DIR": str(Path(folder, "environments")),
        }
        first = _seconds([*SHELL, setup], environ)
        environ["HUT_CI"] = outputs.read_text("utf-8").splitlines()[1]
        carried = f"{run.removesuffix(' run')} --version"
        steps = [([*SHELL, setup], 1), ([*SHELL, carried], 1), ([environ["HUT_CI"], "--version"], -1)]
        over = [sum(sign * _best(argv, environ) for argv, sign in steps) for _ in range(rounds)]
    return {"action on a new host": first, "action over its command": statistics.median(over)}


def _best(argv: list[str], environ: dict[str, str]) -> float:
    return min(_seconds(argv, environ) for _ in range(JOBS))


def _seconds(argv: list[str], environ: dict[str, str]) -> float:
    start = time.monotonic()
    subprocess.run(argv, env=environ, capture_output=True, check=True)
    return time.monotonic() - start
