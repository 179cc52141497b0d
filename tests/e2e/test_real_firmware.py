"""A release that users run: squeezelite-esp32 for 4 MB boards, built with ESP-IDF 4.3, from flash_project_args."""

from __future__ import annotations

import hashlib
import io
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
import yaml
from conftest import LabOf
from console_script import HutCi
from fakes.github import FakeGitHub
from fakes.gitlab import FakeGitLab
from upstream import (
    GITHUB,
    GITHUB_TOKEN,
    GITLAB,
    NAME,
    SHA,
    github_contract,
    github_with_decoys,
    gitlab_contract,
    gitlab_with_decoys,
    token_for,
)

from hut_ci.virtual.board import VirtualBoard

BUILD = Path(__file__).parents[3] / "shared" / "samples" / "squeezelite-4.3-i2s-16" / "build"
ESPTOOL = Path(sys.executable).with_name("esptool")
# The artifacts are named `squeezelite-esp32-BRANCH-NODE-DEPTH-BUILD`.
SQUEEZELITE = """
artifact:
  workflow: .github/workflows/Platform_build.yml
  name: "squeezelite-esp32-{branch}-{variant}-*"
variants:
  i2s-4mflash-16: {needs: {chip: esp32, flash: 4MB}}
  muse-16: {needs: {chip: esp32, flash: 4MB}}
suite: {settle: 0.3, boot_within: 5, require: {app: recovery}}
"""
SQUEEZELITE_LAB = """
artifact: {job: "build: *"}
suite: {settle: 0.3, boot_within: 5, require: {app: recovery}}
"""

pytestmark = [
    pytest.mark.real,
    pytest.mark.skipif(not BUILD.is_dir(), reason="the sample is not beside this repository"),
]


def parts() -> dict[int, bytes]:
    """Offset → content, as the build's own listing has them."""
    words = (BUILD / "flash_project_args").read_text("utf-8").split()
    places = [index for index, word in enumerate(words) if word.startswith("0x")]
    return {int(words[place], 0): (BUILD / words[place + 1]).read_bytes() for place in places}


def _total() -> int:
    return sum(len(data) for data in parts().values())


def read_flash(port: str, offset: int, size: int, into: Path) -> bytes:
    """What plain esptool finds on the chip."""
    argv = [ESPTOOL, "--port", port, "--baud", "921600", "read-flash", hex(offset), hex(size), into]
    read = subprocess.run([str(word) for word in argv], cwd=into.parent, capture_output=True, text=True, check=False)
    assert read.returncode == 0, read.stdout + read.stderr
    return into.read_bytes()


def _writes(board: VirtualBoard) -> int:
    return sum(event.name in ("flash_data", "erase") for event in board.events)


def uploaded() -> bytes:
    """The archive that the project's workflow uploads: the folder above `build/`."""
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as target:
        for file in sorted(path for path in BUILD.parent.rglob("*") if path.is_file()):
            target.write(file, file.relative_to(BUILD.parent))
    return archive.getvalue()


def test_the_artifact_of_a_gitlab_pipeline_with_the_answer_on_both_forges(lab_of: LabOf, hut_ci: HutCi) -> None:
    with FakeGitLab(checker=gitlab_contract()) as gitlab, FakeGitHub(checker=github_contract()) as github:
        project = gitlab_with_decoys(gitlab, uploaded())
        project.add_commit(SHA, files={"hut.yml": SQUEEZELITE_LAB})
        repo = github_with_decoys(github, b"")
        token_for(hut_ci, github, gitlab)
        lab = lab_of()
        where = ("--forge", GITLAB, "--publish", GITLAB, "--publish", GITHUB)
        answer = hut_ci.run("--commit", SHA, *where, lab=lab.lab_yml)
        assert answer.code == 0, answer
        assert {(sha, state) for sha, _, state in repo.all_statuses()} == {(SHA, "pending"), (SHA, "success")}
        assert [status["status"] for status in project.statuses(SHA) if "hardware" in status["name"]][-1] == "success"
        assert github.violations + gitlab.violations == []
    for offset, data in parts().items():
        assert lab.boards["hut-01"].flash[offset : offset + len(data)] == data, f"{offset:#x}"


def test_the_artifact_of_a_commit_among_what_the_project_uploads(lab_of: LabOf, hut_ci: HutCi, tmp_path: Path) -> None:
    """As its workflow uploads it: five legs, no SHA in any name, the folder above `build/`, a text listing."""
    archive = uploaded()
    mock = io.BytesIO()
    with zipfile.ZipFile(mock, "w") as target:
        target.writestr("build/squeezelite.bin", "mock content")
    with FakeGitHub(checker=github_contract()) as github:
        github.add_token(GITHUB_TOKEN)
        repo = github.repository(NAME, id=1001)
        repo.add_commit(SHA, files={"hut.yml": SQUEEZELITE})
        run = repo.add_run(head_sha=SHA, head_branch="master-v4.3", workflow=".github/workflows/Platform_build.yml")
        for leg in ("I2S-4MFlash-16", "I2S-4MFlash-32", "SqueezeAmp-16", "SqueezeAmp-32", "Muse-16"):
            content = archive if leg == "I2S-4MFlash-16" else mock.getvalue()
            run.add_artifact(f"squeezelite-esp32-master-v4.3-{leg}-21716", content)
        run.add_artifact("prebuilt_objects", mock.getvalue())
        token_for(hut_ci, github)
        lab = lab_of()
        answer = hut_ci.run("--commit", SHA, "--forge", GITHUB, "--variant", "i2s-4mflash-16", lab=lab.lab_yml)
        assert answer.code == 0, answer
        assert {(sha, state) for sha, _, state in repo.all_statuses()} == {(SHA, "pending"), (SHA, "success")}
        assert github.violations == []
    for offset, data in parts().items():
        assert lab.boards["hut-01"].flash[offset : offset + len(data)] == data, f"{offset:#x}"


def test_every_byte_arrives_and_a_second_run_writes_nothing(lab_of: LabOf, hut_ci: HutCi, tmp_path: Path) -> None:
    lab = lab_of()
    board = lab.boards["hut-01"]
    hut = tmp_path / "hut.yml"
    hut.write_text(yaml.safe_dump({"suite": {"settle": 0.3, "boot_within": 5, "require": {"app": "recovery"}}}))

    first = hut_ci.run(BUILD, "--hut", hut, lab=lab.lab_yml)
    assert first.code == 0, first
    assert first.stdout.startswith("hut-01  pass: boots recovery (factory): Squeezelite-ESP32 I2S-4MFlash-1716\n")
    boot, flashed = first.hardware["boot"], first.hardware["attempts"][0]["flash"]
    assert (boot["partition"], boot["app_offset"]) == ("recovery", 0x10000)
    assert "otadata is blank: the factory app recovery will boot" in first.hardware["firmware"]["notes"]
    blank = sum(len(data) for data in parts().values() if not data.strip(b"\xff"))
    assert (flashed["written"], flashed["skipped"]) == (_total() - blank, blank), "a new chip is blank already"

    assert board.violations == []
    for offset, data in parts().items():
        found = read_flash(board.serial, offset, len(data), tmp_path / f"{offset:#x}.bin")
        assert hashlib.sha256(found).digest() == hashlib.sha256(data).digest(), f"{offset:#x}"

    before = _writes(board)
    second = hut_ci.run(BUILD, "--hut", hut, lab=lab.lab_yml)
    assert second.code == 0, second
    flashed = second.hardware["attempts"][0]["flash"]
    assert (flashed["written"], flashed["skipped"]) == (0, _total())
    assert _writes(board) == before
