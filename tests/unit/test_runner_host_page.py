"""docs/runner-host.md and the files that it installs say the same, and what they say works."""

from __future__ import annotations

import os
import re
import shutil
import stat
import subprocess
from pathlib import Path

import pytest

from hut_ci import config
from hut_ci.doctor.locks import REMEDY, made_at_boot
from hut_ci.doctor.ports import IGNORE
from hut_ci.doctor.relays import TIMER
from hut_ci.doctor.runners import HOOK
from hut_ci.errors import Refused
from hut_ci.model import Lab
from hut_ci.stages.job_started import StartedJob, check_job

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "runner-host.md").read_text("utf-8")
TMPFILES = shutil.which("systemd-tmpfiles")
COMMANDS = re.findall(r"^    (.+)$", re.sub(r"```.*?```", "", PAGE, flags=re.S), re.M)
MAIN, PULL = "refs/heads/main", "refs/pull/7/merge"
WORKFLOW = ".github/workflows/hardware.yml"


@pytest.fixture
def lab(tmp_path: Path) -> Lab:
    [text] = re.findall(r"```yaml\n# lab\.yml\n(.*?)```", PAGE, re.S)
    (tmp_path / "lab.yml").write_text(text)
    return config.load_lab(tmp_path / "lab.yml", {})


def test_its_lab_has_the_folders_that_are_made_at_boot(lab: Lab) -> None:
    lines = (ROOT / "examples" / "tmpfiles.d" / "hut-ci.conf").read_text("utf-8").splitlines()
    for folder in (lab.lock_dir, lab.state_dir):
        assert made_at_boot(folder, lines)
    [advised] = re.findall(r"`(d [^`]+)`", REMEDY)
    assert advised in lines


def test_its_list_lets_the_workflow_begin_and_no_pull_request(lab: Lab) -> None:
    for event in ("workflow_run", "pull_request_target", "issue_comment", "workflow_dispatch"):
        check_job(StartedJob("acme/firmware", WORKFLOW, MAIN, MAIN, event), lab.allowed_jobs)
    for job in (
        StartedJob("acme/firmware", WORKFLOW, PULL, PULL, "pull_request"),
        StartedJob("acme/firmware", WORKFLOW, MAIN, MAIN, "pull_request"),
        StartedJob("acme/firmware", ".github/workflows/mine.yml", MAIN, MAIN, "workflow_run"),
        StartedJob("mallory/firmware", WORKFLOW, MAIN, MAIN, "workflow_run"),
    ):
        with pytest.raises(Refused):
            check_job(job, lab.allowed_jobs)


def test_what_it_copies_exists() -> None:
    named = set(re.findall(r"examples/[\w./-]+", PAGE))
    assert len(named) > 4
    for name in named:
        assert (ROOT / name.rstrip("/")).exists(), name


def test_it_names_what_the_doctor_looks_for() -> None:
    installed = re.search(rf"{HOOK}=(\S+)", PAGE)
    assert installed is not None
    assert f"{HOOK}={installed[1]}" in (ROOT / "examples" / "runner" / "job-started.sh").read_text("utf-8")
    assert TIMER in PAGE
    rules = (ROOT / "examples" / "udev" / "70-hut-ci.rules").read_text("utf-8").splitlines()
    [rule] = re.findall(r"`(SUBSYSTEM[^`]+)`", IGNORE)
    assert rule in rules


def test_the_program_lies_where_the_hook_and_the_timer_look_for_it() -> None:
    for file, name in (
        ("runner/job-started.sh", "/opt/hut-ci/bin/hut-ci"),
        ("systemd/hut-ci-power-repair.service", "/usr/local/bin/hut-ci"),
    ):
        assert name in (ROOT / "examples" / file).read_text("utf-8")
        assert f" {name}" in "\n".join(COMMANDS)
    assert "User=hut-ci\nGroup=hut-lab" in (ROOT / "examples/systemd/hut-ci-power-repair.service").read_text("utf-8")
    assert "useradd --create-home --groups hut-lab,dialout hut-ci" in COMMANDS


@pytest.mark.parametrize("command", COMMANDS)
def test_a_shell_understands_each_line(command: str) -> None:
    done = subprocess.run(["/bin/sh", "-n", "-c", command], capture_output=True, text=True, timeout=10, check=False)
    assert done.returncode == 0, done.stderr


@pytest.mark.skipif(os.geteuid() != 0 or TMPFILES is None, reason="needs root and systemd-tmpfiles")
def test_systemd_makes_the_shared_folders(tmp_path: Path) -> None:
    (tmp_path / "etc").mkdir()
    (tmp_path / "etc" / "passwd").write_text("root:x:0:0::/root:/bin/sh\n")
    (tmp_path / "etc" / "group").write_text("root:x:0:\nhut-lab:x:54320:\n")
    argv = [str(TMPFILES), "--create", f"--root={tmp_path}", str(ROOT / "examples" / "tmpfiles.d" / "hut-ci.conf")]
    subprocess.run(argv, check=True, timeout=30)
    for name in ("run/lock/hut-ci", "var/lib/hut-ci"):
        made = (tmp_path / name).stat()
        assert (stat.S_IMODE(made.st_mode), made.st_uid, made.st_gid) == (0o2770, 0, 54320)
