"""What the doctor says of the runners of a host: the hook (security 27), one runner for each slot."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from hut_ci.doctor.finding import Finding
from hut_ci.doctor.runners import HOOK, hook_fault, read_runner, runners
from hut_ci.model import AllowedJob, Lab, Slot

SCRIPT = "#!/bin/sh\nexec /opt/hut-ci/bin/hut-ci runner-hook\n"
STRANGER = 54321
"""Somebody who owns nothing here."""
ALLOWED = (AllowedJob("acme/firmware", ".github/workflows/hardware.yml", ("refs/heads/main",), ("push",)),)


def runner(root: Path, name: str, env: str = "") -> Path:
    folder = root / "opt" / f"runner-{name}"
    folder.mkdir(parents=True)
    settings = json.dumps({"agentId": 1, "agentName": name, "gitHubUrl": "https://github.com/acme/firmware"})
    (folder / ".runner").write_bytes(b"\xef\xbb\xbf" + settings.encode())  # as the runner writes it
    (folder / ".env").write_text(f"LANG=C.UTF-8\n{env}\n")
    return folder


def lab(root: Path, *slots: str, allowed: tuple[AllowedJob, ...] = ALLOWED) -> Lab:
    (root / "lab.yml").write_text("slots:\n")
    made = tuple(Slot(name, f"esp32-{name}", (f"/dev/serial/by-id/{name}",)) for name in slots)
    return Lab("bench", root, root / "state", made, root / "lab.yml", allowed_jobs=allowed)


def signs(findings: list[Finding], word: str) -> list[str]:
    return [finding.sign.value for finding in findings if word in finding.what]


def hook(root: Path, text: str = SCRIPT, name: str = "job-started.sh") -> Path:
    path = root / name
    path.write_text(text)
    path.chmod(0o644)
    return path


def test_a_runner_without_the_hook_is_found_where_runners_lie(tmp_path: Path) -> None:
    runner(tmp_path, "esp32-hut-01")
    found = runners(lab(tmp_path, "hut-01"), (), tmp_path)
    assert signs(found, "begins every job") == ["warn"]
    assert signs(found, "no runner here is named") == []


def test_a_runner_with_the_hook(tmp_path: Path) -> None:
    folder = runner(tmp_path, "esp32-hut-01", f"{HOOK}={hook(tmp_path)}")
    read = read_runner(folder)
    assert (read.name, read.url, read.hook) == (
        "esp32-hut-01",
        "https://github.com/acme/firmware",
        str(tmp_path / "job-started.sh"),
    )
    assert hook_fault(Path(read.hook), STRANGER) is None
    assert signs(runners(None, (folder,), tmp_path), "begins every job") == []


FAULTS = {
    "relative": ("job-started.sh", SCRIPT, 0o644, "full path"),
    "no script": ("{root}/job-started", SCRIPT, 0o644, "full path"),
    "not there": ("{root}/other.sh", SCRIPT, 0o644, "cannot be read"),
    "does not ask": ("{root}/job-started.sh", "exit 0\n", 0o644, "does not call"),
    "everybody's": ("{root}/job-started.sh", SCRIPT, 0o646, "may be changed"),
}


@pytest.mark.parametrize(("named", "text", "mode", "told"), FAULTS.values(), ids=FAULTS)
def test_a_hook_that_protects_nothing(tmp_path: Path, named: str, text: str, mode: int, told: str) -> None:
    hook(tmp_path, text).chmod(mode)
    hook(tmp_path, text, "job-started")
    fault = hook_fault(Path(named.format(root=tmp_path)), STRANGER)
    assert fault is not None
    assert told in fault


def test_a_hook_that_belongs_to_the_jobs_it_judges(tmp_path: Path) -> None:
    script = hook(tmp_path)
    assert hook_fault(script, STRANGER) is None
    fault = hook_fault(script, os.geteuid())
    assert fault is not None
    assert "may be changed" in fault
    tmp_path.chmod(0o777)
    assert hook_fault(script, STRANGER) is not None, "the script can be exchanged"


def test_a_bad_hook_is_missing(tmp_path: Path) -> None:
    folder = runner(tmp_path, "esp32-hut-01", f"{HOOK}=/none/job-started.sh")
    assert signs(runners(None, (folder,), tmp_path), "cannot be read") == ["missing"]


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a runner to another user")
def test_a_host_that_is_as_it_should_be(tmp_path: Path) -> None:
    """The control of the rest; and with an empty list no job begins at all."""
    folder = runner(tmp_path, "esp32-hut-01", f"{HOOK}={hook(tmp_path)}")
    os.chown(folder, STRANGER, STRANGER)
    found = runners(lab(tmp_path, "hut-01"), (), tmp_path)
    assert [finding.sign.value for finding in found] == ["ok"], found
    found = runners(lab(tmp_path, "hut-01", allowed=()), (), tmp_path)
    assert signs(found, "refuses every job") == ["missing"]
    (tmp_path / "lab.yml").chmod(0o646)
    assert signs(runners(lab(tmp_path, "hut-01"), (), tmp_path), "may change") == ["missing"]


@pytest.mark.parametrize("line", [f"{HOOK} = x.sh", f"#{HOOK}=x.sh", f"{HOOK}=x.sh\n{HOOK}="])
def test_a_line_that_the_runner_does_not_take_for_the_hook(tmp_path: Path, line: str) -> None:
    assert read_runner(runner(tmp_path, "x", line)).hook == ""
    assert read_runner(runner(tmp_path, "y", f"{HOOK}=x.sh")).hook == "x.sh"


def test_one_runner_for_two_slots(tmp_path: Path) -> None:
    runner(tmp_path, "ESP32-hut-01")
    found = runners(lab(tmp_path, "hut-01", "hut-02"), (), tmp_path)
    assert signs(found, "no runner here is named esp32-hut-02") == ["warn"]
    assert signs(found, "no runner here is named esp32-hut-01") == []


def test_a_folder_that_holds_no_runner(tmp_path: Path) -> None:
    found = runners(None, (tmp_path,), tmp_path)
    assert signs(found, "holds no runner") == ["missing"]


def test_no_runner_at_all(tmp_path: Path) -> None:
    assert [finding.sign.value for finding in runners(None, (), tmp_path)] == ["ok"]


@pytest.mark.parametrize("text", ["", "[]", "{", '{"agentName": 7}'])
def test_settings_that_cannot_be_read(tmp_path: Path, text: str) -> None:
    folder = runner(tmp_path, "x")
    (folder / ".runner").write_text(text)
    (folder / ".env").unlink()
    assert read_runner(folder).hook == ""
