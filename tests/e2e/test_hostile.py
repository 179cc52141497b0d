"""Text from a board or a build, and a strange environment: nothing leaks, nothing is obeyed, nothing hangs."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest
import yaml
from conftest import Firmware, LabOf
from console_script import SCRIPT, HutCi
from live_run import project

from hut_ci.virtual.app_script import Print

PASSWORD = "hunter2-of-the-house"
COMMAND = "##[add-path]/tmp"


@pytest.mark.real
@pytest.mark.parametrize("progress", ["plain", "json"])
def test_progress_says_no_more_than_the_report(progress: str, lab_of: LabOf, hut_ci: HutCi, firmware: Firmware) -> None:
    """security 12, 15, 20: a board prints the Wi-Fi key, the lab's token and a runner's command."""
    lab = lab_of()
    settings = yaml.safe_load(lab.lab_yml.read_text())
    lab.lab_yml.write_text(yaml.safe_dump({**settings, "redact": [PASSWORD]}))
    token = Path(settings["home_assistant"]["token_file"]).read_text().strip()
    # The line comes from the board, not from the image's name: an image is not searched for secrets.
    build = firmware(Print(f"psk {PASSWORD} {token}"), Print(COMMAND), Print("  ::error::x"), "ready")
    out = hut_ci.next_out()
    answer = hut_ci(
        "run",
        build,
        "--hut",
        project(hut_ci.folder, "ready"),
        "--lab",
        lab.lab_yml,
        "--out",
        out,
        "--progress",
        progress,
        out=out,
    )
    assert answer.code == 0, answer
    printed = answer.stdout + answer.stderr
    files = [path for path in out.rglob("*") if path.is_file()]
    assert "attempt-1-serial.raw" in {path.name for path in files}
    for secret in (PASSWORD, token):
        assert secret not in printed
        assert not [path for path in files if secret.encode() in path.read_bytes()]
    assert COMMAND not in printed
    if progress == "json":
        lines = [json.loads(line)["text"] for line in answer.stderr.splitlines()]
        assert "| psk [redacted] [redacted]" in lines, "the negative control: the board's lines are told"


def test_names_of_a_build_command_nobody(hut_ci: HutCi, tmp_path: Path) -> None:
    """security 12: an error that is printed without a report."""
    build = tmp_path / "build"
    build.mkdir()
    (build / "x\n::error::y\x1b[31m.bin").write_text("text")
    answer = hut_ci("firmware", "inspect", build)
    assert answer.code == 2
    assert "\\::error::y.bin holds text" in answer.stderr
    assert "\x1b" not in answer.stderr


@pytest.mark.real
def test_one_slot_named_twice_runs_once(lab_of: LabOf, hut_ci: HutCi, firmware: Firmware) -> None:
    lab = lab_of()
    answer = hut_ci.run(
        firmware("ready"), "--slot", "hut-01", "--hut", project(hut_ci.folder, "ready"), lab=lab.lab_yml
    )
    assert answer.code == 0, answer
    assert answer.hardware["slot"] == "hut-01"


def test_a_project_file_that_leads_nowhere_is_not_ignored(
    lab_of: LabOf, hut_ci: HutCi, firmware: Firmware, tmp_path: Path
) -> None:
    """security 23, 25: without it, the built-in rules would decide."""
    lab = lab_of()
    (tmp_path / "hut.yml").symlink_to("moved-away.yml")
    answer = hut_ci.run(firmware("ready"), lab=lab.lab_yml)
    assert answer.code == 2, answer
    assert "symbolic link" in answer.stdout


@pytest.mark.real
def test_a_closed_standard_output_costs_no_verdict(lab_of: LabOf, hut_ci: HutCi, firmware: Firmware) -> None:
    lab, out = lab_of(), hut_ci.next_out()
    words = [
        str(SCRIPT),
        "run",
        str(firmware("ready")),
        "--lab",
        str(lab.lab_yml),
        "--out",
        str(out),
        "--progress",
        "none",
    ]
    shell = ["/bin/sh", "-c", 'exec "$@" <&- >&-', "sh", *words, "--hut", str(project(hut_ci.folder, "ready"))]
    ended = subprocess.run(
        shell, check=False, cwd=hut_ci.folder, env=hut_ci.environ, stderr=subprocess.PIPE, text=True, timeout=60
    )
    assert (ended.returncode, ended.stderr) == (0, "")
    assert json.loads((out / "report.json").read_bytes())["hardware"]["verdict"]["name"] == "pass"


def test_a_deleted_working_directory_is_said(hut_ci: HutCi, tmp_path: Path) -> None:
    (tmp_path / "gone").mkdir()
    shell = ["/bin/sh", "-c", 'cd gone && rmdir ../gone && exec "$0" slots list', str(SCRIPT)]
    ended = subprocess.run(
        shell, check=False, cwd=tmp_path, env=hut_ci.environ, capture_output=True, text=True, timeout=60
    )
    assert ended.returncode == 2
    assert "the working directory was deleted" in ended.stderr


@pytest.mark.real
def test_learn_redacts_what_it_prints(lab_of: LabOf, hut_ci: HutCi, firmware: Firmware) -> None:
    """security 20: a proposal and the progress go where the report does not."""
    lab = lab_of(transport="rfc2217")  # a pty cannot boot a second time without a loader session
    with lab.lab_yml.open("a") as file:
        file.write("redact: [hunter2]\n")
    build = firmware("connected with hunter2")
    words = ("learn", build, "--lab", lab.lab_yml, "--boots", "2", "--settle", "0.5", "--progress", "json")
    answer = hut_ci(*words)
    assert answer.code == 0, answer
    assert "connected with" in answer.stdout
    assert "hunter2" not in answer.stdout + answer.stderr
