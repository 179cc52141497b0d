"""`hut-ci slots selftest`: what it proves, what it refuses, and that it can fail."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import time
from pathlib import Path

import pytest
from conftest import LabOf
from console_script import HutCi
from live_run import check_free_at_once, claimed, claimed_apart, start

from hut_ci.claims.selftest import HOLD_SECONDS, Span, problems, selftest
from hut_ci.cli.slot_evidence import new_file
from hut_ci.model import Lab, Slot


def test_one_slot_serialises_and_two_overlap_with_evidence(lab_of: LabOf, hut_ci: HutCi) -> None:
    """WS8-7, WS8-8, WS8-10: three processes on the lab's own locks; the instants are in the evidence file."""
    lab = lab_of(2)
    done = hut_ci("slots", "selftest", "--evidence", "evidence", "--lab", lab.lab_yml)
    assert done.code == 0, done
    (file,) = (hut_ci.folder / "evidence").iterdir()
    assert re.fullmatch(r"runner_hil_topo_lock_selftest_\d{8}_\d{6}_utc\.log", file.name)
    text = file.read_text()
    steps = re.findall(r"^\d{4}-\S+Z monotonic=([\d.]+) pid=(\d+) (hut-0\d) (waiting|held|released)", text, re.M)
    told = [(slot, event) for _, _, slot, event in steps]
    assert told == [
        ("hut-01", "held"),
        ("hut-01", "waiting"),
        ("hut-02", "held"),
        ("hut-01", "released"),
        ("hut-01", "held"),
        ("hut-02", "released"),
        ("hut-01", "released"),
    ]
    assert len({pid for _, pid, _, _ in steps}) == 3
    assert text.endswith("same slot serialises, different slots overlap: ok\n")
    check_free_at_once(lab)
    check_free_at_once(lab, "hut-02")


@pytest.mark.real
def test_the_answer_for_programs(lab_of: LabOf, hut_ci: HutCi) -> None:
    lab = lab_of(3)
    done = hut_ci("slots", "selftest", "hut-03", "hut-01", "--json", "--lab", lab.lab_yml)
    assert done.code == 0, done
    document = json.loads(done.stdout)
    assert (document["result"], [span["slot"] for span in document["spans"]]) == ("ok", ["hut-03", "hut-03", "hut-01"])
    assert any("serves one user alone" in note for note in document["notes"])


@pytest.mark.real
def test_it_needs_no_wait_of_its_own(lab_of: LabOf, hut_ci: HutCi) -> None:
    """`--wait 0` is for slots that somebody else has; its second process always has to queue."""
    lab = lab_of(2)
    assert hut_ci("slots", "selftest", "--wait", "0", "--lab", lab.lab_yml).code == 0


def test_locks_that_exclude_nobody_fail_it_at_once(tmp_path: Path) -> None:
    """Here because somebody removes the lock file of a holder: the second process holds beside the first."""
    slots = [Slot(name, name, ()) for name in ("hut-01", "hut-02")]
    lab = Lab("", tmp_path, tmp_path, tuple(slots), tmp_path / "lab.yml")

    def remove(line: str) -> None:
        if "hut-01 held" in line:
            (tmp_path / "hut-01.lock").unlink(missing_ok=True)

    began = time.monotonic()
    spans = selftest(lab, *slots, 0.0, remove)
    assert time.monotonic() - began < HOLD_SECONDS / 2
    assert [problem for problem in problems(spans) if "at the same time" in problem]


def test_a_folder_that_not_all_users_can_use_fails_it(lab_of: LabOf, hut_ci: HutCi) -> None:
    lab = lab_of(2)
    folder = lab.folder / "locks"
    folder.mkdir(exist_ok=True)
    folder.chmod(0o2700)
    refused = hut_ci("slots", "selftest", "--lab", lab.lab_yml)
    assert (refused.code, "may not write to" in refused.stderr) == (2, True)


def test_evidence_of_the_same_second_is_kept(tmp_path: Path) -> None:
    stem = "runner_hil_topo_inventory_20260213_215705_utc"
    names = []
    for _ in range(3):
        with new_file(tmp_path, stem) as file:
            names.append(Path(file.name).name)
    assert names == [f"{stem}.log", f"{stem}.2.log", f"{stem}.3.log"]


@pytest.mark.real
def test_a_slot_in_use_blocks_it(lab_of: LabOf, hut_ci: HutCi) -> None:
    lab = lab_of(2)
    with claimed(lab):
        busy = hut_ci("slots", "selftest", "--wait", "0.2", "--lab", lab.lab_yml)
    assert (busy.code, "is held by" in busy.stderr) == (4, True)


@pytest.mark.real
def test_who_waits_for_a_slot_in_use_sees_who_has_it(lab_of: LabOf, hut_ci: HutCi) -> None:
    lab = lab_of(2)
    with claimed_apart(lab), start(hut_ci, "slots", "selftest", "--json", "--lab", lab.lab_yml) as waiting:
        waiting.wait_for("hut-01 waiting .hut-01 is held by")


def test_one_slot_is_not_enough(lab_of: LabOf, hut_ci: HutCi) -> None:
    """WS8-10: at least two."""
    lab = lab_of(1)
    refused = hut_ci("slots", "selftest", "--lab", lab.lab_yml)
    assert (refused.code, "1 of the two slots" in refused.stderr) == (2, True)


GIT = shutil.which("git")


@pytest.mark.real
@pytest.mark.skipif(GIT is None, reason="git is not installed")
@pytest.mark.parametrize("tracked", [True, False], ids=["tracked", "ignored"])
def test_a_lab_file_in_version_control_fails_it(lab_of: LabOf, hut_ci: HutCi, tracked: bool) -> None:
    """WS8-10: the mapping is local; the example is what a repository shows."""
    lab = lab_of(2)

    def git(*words: str) -> None:
        subprocess.run([str(GIT), *words], cwd=lab.folder, check=True, capture_output=True)

    git("init", "--quiet")
    if tracked:
        git("add", "lab.yml")
    else:
        (lab.folder / ".gitignore").write_text("lab.yml\n")
    done = hut_ci("slots", "selftest", "--lab", lab.lab_yml)
    assert done.code == (2 if tracked else 0), done
    assert ("is tracked by git" in done.stderr) is tracked


def test_an_unusable_state_folder_fails_it(lab_of: LabOf, hut_ci: HutCi) -> None:
    """WS8-12: the host can keep what a run has to keep."""
    lab = lab_of(2)
    text = lab.lab_yml.read_text().replace(f"state_dir: {lab.folder / 'state'}", "state_dir: /proc/nothing")
    lab.lab_yml.write_text(text)
    refused = hut_ci("slots", "selftest", "--lab", lab.lab_yml)
    assert (refused.code, "/proc/nothing cannot be written" in refused.stderr) == (2, True)


@pytest.mark.parametrize(
    ("spans", "wrong"),
    [
        ([Span("a", 1, 0.0, 2.0), Span("a", 2, 2.0, 3.0), Span("b", 3, 1.0, 2.5)], 0),
        ([Span("a", 1, 0.0, 2.0), Span("a", 2, 1.9, 3.0), Span("b", 3, 1.0, 2.5)], 1),
        ([Span("a", 1, 0.0, 1.0), Span("a", 2, 1.0, 2.0), Span("b", 3, 2.0, 3.0)], 1),
        ([Span("a", 1, 0.0, 2.0), Span("a", 2, 1.0, 2.5), Span("b", 3, 3.0, 4.0)], 2),
    ],
)
def test_it_can_fail(spans: list[Span], wrong: int) -> None:
    """The negative control: overlaps on one slot, and slots that never overlap, are found."""
    assert len(problems(spans)) == wrong


def test_the_example_is_committed_and_the_real_file_is_ignored() -> None:
    """WS8-10."""
    root = Path(__file__).parents[2]
    assert (root / "examples" / "lab.yml").exists()
    assert "lab.yml" in (root / ".gitignore").read_text().splitlines()
