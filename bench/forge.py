"""From a commit: calls that one resolve costs, and the time until the first byte is flashed, beside raw esptool's.

The forges are the loopback servers of tests/fakes; the artifact is in the cache, as for every run but a commit's first.
"""

from __future__ import annotations

import io
import os
import subprocess
import sys
import time
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

from fakes.github import FakeGitHub
from fakes.gitlab import FakeGitLab

from hut_ci.virtual.lab import VirtualLab

BIN = Path(sys.executable).parent
SHA = "5e" * 20
NAME = "acme/firmware"
RESOLVING = {
    *("list_runs", "get_run", "list_run_artifacts", "list_jobs"),
    *("list_pipelines", "get_pipeline", "list_pipeline_jobs", "get_merge_request"),
}
PATIENCE = 60.0


def first_bytes(virtual: VirtualLab, build: Path, write: list[str]) -> dict[str, float]:
    """Seconds from each program's start until an empty board gets its first byte; `write` is raw esptool's argv."""
    took: dict[str, float] = {}
    with forges(build, virtual.folder) as (environment, calls):
        for forge in ("github", "gitlab"):
            finished(command(virtual, forge), environment)  # the artifact is in the cache now
            before = calls()
            took[f"first byte hut-ci {forge}"] = started(virtual, command(virtual, forge), environment)
            took[f"calls of one resolve {forge}"] = calls() - before
        took["first byte esptool"] = started(virtual, write, dict(os.environ), cwd=build)
    return took


def zipped(build: Path) -> bytes:
    """The build folder as an upload keeps it."""
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as target:
        for file in sorted(path for path in build.rglob("*") if path.is_file()):
            target.write(file, file.relative_to(build))
    return archive.getvalue()


@contextmanager
def forges(build: Path, folder: Path) -> Iterator[tuple[dict[str, str], Callable[[], int]]]:
    """Both forges with the build as the artifact of SHA, and how many resolving calls they have had."""
    archive = zipped(build)
    with FakeGitHub() as github, FakeGitLab() as gitlab:
        github.add_token("ghs_x")
        repo = github.repository(NAME, id=1001)
        repo.add_commit(SHA)
        repo.add_run(head_sha=SHA).add_artifact("firmware", archive)
        gitlab.add_token("glpat-x")
        project = gitlab.project(NAME, id=7)
        project.add_commit(SHA)
        project.set_branch("main", SHA)
        project.add_pipeline(sha=SHA).add_job("build", artifacts=archive)
        (folder / "hut.yml").write_text('suite: {expect: ["bench: ready"]}\n')
        environment = {**os.environ, "GITHUB_API_URL": github.url, "GITHUB_TOKEN": "ghs_x"}
        environment |= {"GITLAB_API_URL": gitlab.api, "GITLAB_TOKEN": "glpat-x"}
        yield environment, lambda: sum(name in RESOLVING for name in github.operations() + gitlab.operations())


def command(virtual: VirtualLab, forge: str) -> list[str]:
    words = ["run", "--commit", SHA, "--forge", f"{forge}:{NAME}", "--publish", "none", "--slot", "hut-01"]
    words += ["--hut", str(virtual.folder / "hut.yml"), "--lab", str(virtual.lab_yml)]
    return [str(BIN / "hut-ci"), *words, "--out", str(virtual.folder / "out"), "--progress", "none"]


def finished(argv: list[str], environment: dict[str, str]) -> None:
    done = subprocess.run(argv, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def started(virtual: VirtualLab, argv: list[str], environment: dict[str, str], cwd: Path | None = None) -> float:
    """Empty the board, start a program, and measure until the first block of data arrives; then it may finish."""
    board = virtual.boards["hut-01"]
    finished([str(BIN / "esptool"), "--chip", "esp32", "--port", board.serial, "erase-flash"], dict(os.environ))
    start = time.monotonic()
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    child = subprocess.Popen(argv, env=environment, cwd=cwd, **quiet)  # type: ignore[call-overload]
    try:
        first = board.wait_for("flash_data", PATIENCE, after=start).seconds
        assert child.wait(PATIENCE) == 0
    finally:
        child.kill()
    return float(first - start)
