"""`hut-ci runner-hook` as the runner starts it: a real process with the job's environment and nothing else."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
from console_script import SCRIPT, HutCi

WORKFLOW = "acme/firmware/.github/workflows/hardware.yml"
MAIN = "refs/heads/main"
JOB = {
    "GITHUB_REPOSITORY": "acme/firmware",
    "GITHUB_WORKFLOW_REF": f"{WORKFLOW}@{MAIN}",
    "GITHUB_EVENT_NAME": "push",
    "GITHUB_REF": MAIN,
}
LAB = """\
slots:
runner:
  allow:
    - repository: acme/firmware
      workflow: .github/workflows/hardware.yml
      refs: [refs/heads/main, "refs/heads/rel-*"]
      events: [push]
"""
PULL = "refs/pull/7/merge"


@pytest.fixture
def lab(hut_ci: HutCi) -> Path:
    path = hut_ci.folder / "lab.yml"
    path.write_text(LAB)
    return path


@pytest.mark.real
@pytest.mark.parametrize("ref", [MAIN, "refs/heads/rel-1.2"])
def test_the_job_on_the_list_begins(hut_ci: HutCi, lab: Path, ref: str) -> None:
    """The control of every refusal below."""
    hut_ci.environ |= {**JOB, "GITHUB_WORKFLOW_REF": f"{WORKFLOW}@{ref}", "GITHUB_REF": ref}
    answer = hut_ci("runner-hook", "--lab", lab)
    assert (answer.code, answer.stderr) == (0, ""), answer


OTHERS = {
    "edited workflow file": {"GITHUB_WORKFLOW_REF": f"acme/firmware/.github/workflows/other.yml@{MAIN}"},
    "workflow of a branch": {"GITHUB_WORKFLOW_REF": f"{WORKFLOW}@refs/heads/mine"},
    "workflow of a pull request": {"GITHUB_WORKFLOW_REF": f"{WORKFLOW}@{PULL}", "GITHUB_REF": PULL},
    "about a pull request": {"GITHUB_REF": PULL},
    "deeper branch": {"GITHUB_WORKFLOW_REF": f"{WORKFLOW}@refs/heads/rel-1/x", "GITHUB_REF": "refs/heads/rel-1/x"},
    "fork": {"GITHUB_REPOSITORY": "mallory/firmware"},
    "fork with its workflow": {
        "GITHUB_REPOSITORY": "mallory/firmware",
        "GITHUB_WORKFLOW_REF": f"mallory/firmware/.github/workflows/hardware.yml@{MAIN}",
    },
    "other event": {"GITHUB_EVENT_NAME": "pull_request_target"},
    "second line": {"GITHUB_REF": f"{MAIN}\n::error::forged"},
    "command in an event": {"GITHUB_EVENT_NAME": "push\n::add-mask::a"},
    **{f"no {name}": {name: ""} for name in JOB},
}


@pytest.mark.real
@pytest.mark.parametrize("changes", OTHERS.values(), ids=OTHERS)
def test_any_other_job_is_refused(hut_ci: HutCi, lab: Path, changes: dict[str, str]) -> None:
    hut_ci.environ |= {**JOB, **changes}
    answer = hut_ci("runner-hook", "--lab", lab)
    assert answer.code == 9, answer
    assert answer.stderr.startswith("hut-ci: this host does not run this job: ")
    assert not [line for line in (answer.stdout + answer.stderr).splitlines() if line.lstrip().startswith("::")]


@pytest.mark.parametrize("text", [None, "slots:\n", "runner: [", LAB.replace("push", "PUSH")])
def test_a_list_that_does_not_say_yes_refuses(hut_ci: HutCi, lab: Path, text: str | None) -> None:
    lab.unlink() if text is None else lab.write_text(text)
    hut_ci.environ |= JOB
    assert hut_ci("runner-hook", "--lab", lab).code == 9


EXAMPLE = Path(__file__).parents[2] / "examples" / "runner" / "job-started.sh"


@pytest.mark.parametrize(("ref", "code"), [(MAIN, 0), (PULL, 9)])
def test_the_script_for_the_runner_hands_on_the_job_and_nothing_else(
    hut_ci: HutCi, lab: Path, ref: str, code: int
) -> None:
    """A job that sets PYTHONPATH must not choose what the hook imports."""
    (hut_ci.folder / "click.py").write_text("raise SystemExit(0)\n")
    script = hut_ci.folder / "job-started.sh"
    text = EXAMPLE.read_text()
    script.write_text(text.replace("/opt/hut-ci/bin/hut-ci", str(SCRIPT)).replace("/etc/hut-ci/lab.yml", str(lab)))
    environ = {**JOB, "GITHUB_WORKFLOW_REF": f"{WORKFLOW}@{ref}", "PYTHONPATH": str(hut_ci.folder)}
    ended = subprocess.run(
        ["/bin/sh", script], env=environ, cwd=hut_ci.folder, capture_output=True, text=True, timeout=60, check=False
    )
    assert ended.returncode == code, ended
    assert ("may run" in ended.stdout) == (code == 0), ended
