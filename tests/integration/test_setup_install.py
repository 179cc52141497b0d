"""The installation on a lab host: two jobs at once, from a workspace that would like to take part."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

INSTALL = Path(__file__).parents[2] / ".github" / "actions" / "setup" / "install.py"
PATIENCE = 240.0
PLANT = "import pathlib\npathlib.Path({mark!r}).touch()\n"


def start(workspace: Path, environments: Path, outputs: Path) -> subprocess.Popen[str]:
    environ = {name: value for name, value in os.environ.items() if name.startswith("PIP_")}
    environ |= {"PATH": os.environ["PATH"], "HOME": str(workspace / "home"), "PYTHONPATH": str(workspace)}
    environ |= {"HUT_CI_ENV_DIR": str(environments), "GITHUB_OUTPUT": str(outputs)}
    return subprocess.Popen(
        [sys.executable, "-I", INSTALL],
        cwd=workspace,
        env=environ,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


@pytest.mark.real
@pytest.mark.timeout(300)
def test_two_jobs_install_once_and_nothing_of_their_workspace_runs(tmp_path: Path) -> None:
    """security 26: the working directory cannot change us."""
    workspace, environments, mark = tmp_path / "work space", tmp_path / "environments", tmp_path / "planted"
    (workspace / "home").mkdir(parents=True)
    for name in ("venv", "pip", "sitecustomize", "hut_ci", "runpy", "ensurepip"):
        (workspace / f"{name}.py").write_text(PLANT.format(mark=str(mark)))
    control = subprocess.run([sys.executable, "-m", "venv", "x"], cwd=workspace, check=False, capture_output=True)
    assert mark.exists(), f"a program started without care runs what is planted here: {control}"
    mark.unlink()
    jobs = [start(workspace, environments, tmp_path / f"outputs-{number}") for number in (1, 2)]
    answers = [job.communicate(timeout=PATIENCE) for job in jobs]
    assert [job.returncode for job in jobs] == [0, 0], answers
    found = {out.strip() for out, _ in answers}
    assert len(found) == 1
    assert sum("installing into" in err for _, err in answers) == 1, answers
    assert not mark.exists()
    (program,) = found
    told = subprocess.run([program, "--version"], cwd=tmp_path, capture_output=True, text=True, check=True)
    assert told.stdout.startswith("hut-ci")
    assert program in (tmp_path / "outputs-2").read_text()
    Path(program).unlink()  # an installation that was complete once
    again = start(workspace, environments, tmp_path / "outputs-3")
    again.communicate(timeout=PATIENCE)
    assert again.returncode == 0
    assert Path(program).exists()
