"""Runs that end before a board is touched, or without one: each says why, exits by its stage, and leaves a report."""

from __future__ import annotations

import io
import re
import threading
import time
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest
from conftest import Firmware, LabOf
from console_script import Answer, HutCi
from live_run import claimed_apart

from hut_ci import contracts
from hut_ci.claims import flock
from hut_ci.config import load_lab
from hut_ci.deadline import Deadline
from hut_ci.forges.local import LocalForge
from hut_ci.stages.slot import Note
from hut_ci.stages.verdict import table
from hut_ci.virtual.images import build_app
from hut_ci.virtual.lab import VirtualLab

SHA = "89abcdef0123456789abcdef0123456789abcdef"


def check(answer: Answer, lab: VirtualLab, evidence: str, sentence: str) -> None:
    """The verdict of the evidence's row, a valid report, and a board that nobody wrote to."""
    row = table()[evidence]
    verdict = answer.hardware["verdict"]
    assert verdict["evidence"]["id"] == evidence, f"{verdict}\n{answer}"
    assert (verdict["name"], verdict["exit_code"], answer.code) == (row.verdict, row.exit, row.exit)
    assert re.fullmatch(sentence, verdict["sentence"]), verdict["sentence"]
    assert verdict["sentence"] in answer.stdout
    assert answer.stderr == ""
    assert contracts.check(answer.report, "ws2.report.v1") == []
    assert contracts.check(answer.hardware, "hut.hardware.v1") == []
    assert {"report.json", "junit.xml", "summary.md"} <= {path.name for path in answer.out.iterdir()}
    for board in lab.boards.values():
        assert set(board.flash) == {0xFF}
        assert board.writers_seen == []


# --- builds that cannot be flashed -----------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Build:
    """`make` puts the build into a folder and answers what `hut-ci run` is given."""

    evidence: str
    sentence: str
    make: Callable[[Path, Firmware], Path]


def _file(name: str, data: bytes) -> Callable[[Path, Firmware], Path]:
    def make(folder: Path, firmware: Firmware) -> Path:
        (folder / name).write_bytes(data)
        return folder / name

    return make


def _zip(*entries: tuple[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in entries:
            archive.writestr(name, data)
    return buffer.getvalue()


def _bomb(folder: Path, firmware: Firmware) -> Path:
    """72 MiB of zeros in 72 KiB."""
    return _file("build.zip", _zip(*((f"{number}.bin", bytes(8 << 20)) for number in range(9))))(folder, firmware)


def _changed(change: Callable[[Path], None]) -> Callable[[Path, Firmware], Path]:
    """A good build with something done to it."""

    def make(folder: Path, firmware: Firmware) -> Path:
        source, build = firmware("ready"), folder / "build"
        for path in (path for path in source.rglob("*") if path.is_file()):
            target = build / path.relative_to(source)
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(path.read_bytes())
        change(build)
        return build

    return make


def _damage(build: Path) -> None:
    app = build / "demo.bin"
    data = bytearray(app.read_bytes())
    data[5000] ^= 1
    app.write_bytes(data)


def _mock(build: Path) -> None:
    for path in build.rglob("*.bin"):
        path.write_text("mock content")


def _grow(build: Path) -> None:
    (build / "demo.bin").write_bytes(build_app(size=0x200000))


BUILDS = {
    "a path that leaves the archive": Build(
        "hostile_archive", "artifact refused: .*evil.*", _file("build.zip", _zip(("../evil", b"x")))
    ),
    "a zip bomb": Build(
        "hostile_archive",
        r"artifact refused: .*unpack to more than \d+ times as much.*",
        _bomb,
    ),
    "a cut zip": Build("no_artifact", "no artifact: .*build.zip.*", _file("build.zip", _zip(("a", b"x" * 99))[:60])),
    "nothing": Build("no_artifact", "no artifact: .*/build does not exist", lambda folder, _: folder / "build"),
    "an ELF file": Build(
        "not_flashable", "configuration error: app.elf is an ELF file.*", _file("app.elf", b"\x7fELF\1\1\1")
    ),
    "an application alone": Build(
        "not_flashable",
        "configuration error: app.bin is an application alone.*",
        _file("app.bin", build_app(size=0x8000)),
    ),
    "text in place of images": Build(
        "not_flashable",
        "configuration error: .* holds text, not an image.*",
        _changed(_mock),
    ),
    "a damaged application": Build("broken_build", "the build is broken: demo.bin .*", _changed(_damage)),
    "an application that is too large": Build(
        "broken_build",
        "the build is broken: demo.bin is too large for its partition factory: .* too many",
        _changed(_grow),
    ),
    "a build for another chip": Build(
        "does_not_fit",
        "configuration error: .*esp32s3.*",
        lambda _, firmware: firmware("ready", chip="esp32s3"),
    ),
}


@pytest.mark.real
@pytest.mark.parametrize("name", BUILDS)
def test_a_build_that_cannot_be_flashed(
    name: str, lab_of: LabOf, hut_ci: HutCi, firmware: Firmware, tmp_path: Path
) -> None:
    """security 3 and 4: refused before the slot is claimed, whoever made it so."""
    lab = lab_of()
    answer = hut_ci.run(BUILDS[name].make(tmp_path, firmware), lab=lab.lab_yml)
    check(answer, lab, BUILDS[name].evidence, BUILDS[name].sentence)
    assert not (tmp_path.parent / "evil").exists()


# --- hut.yml ---------------------------------------------------------------------------------------------------

PROJECTS = {
    "a suite that checks nothing": ("suite: {settle: 0, off: ALL}", "empty_suite", ".*the suite checks nothing.*"),
    "an unknown key": ("suite: {expct: [ready]}", "config", "configuration error: .*hut.yml.*expct.*"),
    "a pattern that does not compile": ('suite: {expect: ["(ready"]}', "config", "configuration error: .*hut.yml.*"),
    "no YAML": ("suite: [", "config", "configuration error: .*hut.yml.*"),
    "two variants, none named": ("variants: {a: {}, b: {}}", "usage", "configuration error: .*variant.*"),
    "needs that no board meets": (
        "variants: {big: {needs: {flash: 16MB}}}",
        "does_not_fit",
        "configuration error: .*hut-01.*",
    ),
}


@pytest.mark.parametrize("name", PROJECTS)
def test_a_project_file_with_an_error(
    name: str, lab_of: LabOf, hut_ci: HutCi, firmware: Firmware, tmp_path: Path
) -> None:
    from hut_ci.config.project_file import built_in_rules

    text, evidence, sentence = PROJECTS[name]
    (tmp_path / "hut.yml").write_text(text.replace("ALL", str(sorted(built_in_rules()))))
    lab = lab_of()
    check(hut_ci.run(firmware("ready"), lab=lab.lab_yml), lab, evidence, sentence)


# --- no slot ---------------------------------------------------------------------------------------------------


def test_a_busy_slot_names_its_holder(lab_of: LabOf, hut_ci: HutCi, firmware: Firmware) -> None:
    lab = lab_of()
    product_lab = load_lab(lab.lab_yml)
    note = Note(why="a manual session", run_url="https://ci.example/7")
    with flock.claim(product_lab, product_lab.slots[0], note=note, deadline=Deadline(0)):
        answer = hut_ci.run(firmware("ready"), lab=lab.lab_yml)
    check(answer, lab, "slot_busy", r"blocked: .*hut-01.*(a manual session|ci\.example/7).*")


@pytest.mark.real
def test_a_slot_that_gets_free_is_taken(lab_of: LabOf, hut_ci: HutCi, firmware: Firmware) -> None:
    lab = lab_of()
    (lab.folder.parent / "hut.yml").write_text("suite: {expect: [ready], settle: 0}")
    product_lab = load_lab(lab.lab_yml)
    slot, answers = product_lab.slots[0], list[Answer]()
    with claimed_apart(lab):
        run = threading.Thread(target=lambda: answers.append(hut_ci.run(firmware("ready"), lab=lab.lab_yml, wait=60)))
        run.start()
        waiting = Deadline(60)
        while not flock.queue(product_lab, slot):
            assert not waiting.expired
            time.sleep(0.02)
    run.join()
    assert answers[0].code == 0, answers[0]
    assert lab.boards["hut-01"].violations == []


@pytest.mark.real
@pytest.mark.parametrize(
    ("settings", "evidence", "sentence"),
    [
        (
            {"serial": "/dev/serial/by-id/usb-gone"},
            "slot_absent",
            "blocked: the board of hut-01 is absent: .*usb-gone.*",
        ),
        ({"quarantined": "burnt regulator"}, "slot_quarantined", "blocked: hut-01 is quarantined: burnt regulator"),
    ],
)
def test_a_slot_without_a_board(
    settings: dict[str, object],
    evidence: str,
    sentence: str,
    lab_of: LabOf,
    hut_ci: HutCi,
    firmware: Firmware,
    tmp_path: Path,
) -> None:
    lab = lab_of(settings={"hut-01": settings})
    forge = tmp_path / "forge"
    answer = hut_ci.run(firmware("ready"), "--commit", SHA, "--forge", f"local:{forge}", lab=lab.lab_yml)
    check(answer, lab, evidence, sentence)
    (status,) = LocalForge(forge).statuses(SHA)
    assert (status.state, status.context) == ("error", "hardware / hut-01")


def test_an_unknown_slot(lab_of: LabOf, hut_ci: HutCi, firmware: Firmware) -> None:
    lab = lab_of()
    answer = hut_ci.run(firmware("ready"), lab=lab.lab_yml, slot="hut-11")
    check(answer, lab, "usage", "configuration error: virtual has no slot, .*did you mean 'hut-01'.*")


# --- the commit ------------------------------------------------------------------------------------------------


@pytest.mark.real
@pytest.mark.parametrize(
    ("built", "sentence"), [((), "no artifact: no build .*"), (("a", "b"), "no artifact: 2 builds .*")]
)
def test_no_single_build_for_the_commit(
    built: tuple[str, ...], sentence: str, lab_of: LabOf, hut_ci: HutCi, firmware: Firmware, tmp_path: Path
) -> None:
    """Design decision 8: the exact commit or nothing; two candidates are listed."""
    for name in built:
        folder = tmp_path / "forge" / "artifacts" / SHA / f"default-{name}"
        folder.mkdir(parents=True)
    lab = lab_of()
    answer = hut_ci.run("--commit", SHA, "--forge", f"local:{tmp_path / 'forge'}", lab=lab.lab_yml)
    check(answer, lab, "no_artifact", sentence)


def test_a_short_commit_id_is_refused(lab_of: LabOf, hut_ci: HutCi, firmware: Firmware) -> None:
    answer = hut_ci.run(firmware("ready"), "--commit", SHA[:12], lab=lab_of().lab_yml)
    assert answer.code == 2
    assert SHA[:12] in answer.stderr


def test_a_status_that_cannot_be_posted(lab_of: LabOf, hut_ci: HutCi, firmware: Firmware, tmp_path: Path) -> None:
    """The board is not flashed for a result that nobody could be told; the report says why."""
    (tmp_path / "forge").write_text("not a folder")
    lab = lab_of()
    answer = hut_ci.run(firmware("ready"), "--commit", SHA, "--forge", f"local:{tmp_path / 'forge'}", lab=lab.lab_yml)
    assert answer.code == 8, answer
    assert answer.hardware["verdict"]["evidence"]["id"] == "publish_failed"
    assert contracts.check(answer.report, "ws2.report.v1") == []
