"""The bench runs each job once, one at a time on a slot, and nothing for ever."""

from __future__ import annotations

import json
import socket
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from hut_ci.config import lab_from_text
from hut_ci.errors import ConfigError
from hut_ci.model import Lab
from hut_ci.watch import spool
from hut_ci.watch.bench import ENDED, MOST_TRIES, Bench
from hut_ci.watch.notify import notify

FIRST, SECOND, OTHER = (f"{letter * 24}-0" for letter in "abc")
COMMIT = "5e" * 20
SLOTS = "slots: {hut-01: {serial: /dev/serial/by-id/a}, hut-02: {serial: /dev/serial/by-id/b}}\n"


@dataclass
class Run:
    """A child that ends when the test says so."""

    name: str
    out: Path
    code: int | None = None
    terminated: bool = False

    def poll(self) -> int | None:
        return self.code

    def terminate(self) -> None:
        self.terminated = True

    def wait(self, timeout: float | None = None) -> int:  # noqa: ARG002 (as of a process)
        return -15

    def end(self, *, partial: bool = False, code: int = 0) -> None:
        (self.out / spool.REPORT).write_text(json.dumps({"hardware": {"partial": partial}}))
        self.code = code


@dataclass
class Rig:
    lab: Lab
    runs: list[Run] = field(default_factory=list)
    held: set[str] = field(default_factory=set)
    said: list[str] = field(default_factory=list)

    def bench(self) -> Bench:
        def start(name: str, out: Path) -> Run:
            self.runs.append(Run(name, out))
            return self.runs[-1]

        return Bench(self.lab, start, lambda slot: slot.id in self.held, self.said.append)

    def job(self, name: str, slot: str) -> None:
        request = {
            "schema_version": "hut.request.v1",
            "repository": "acme/firmware",
            "commit_sha": COMMIT,
            "pairs": [{"slot": slot}],
            "not_after": "2999-01-01T00:00:00Z",
        }
        spool.hand_over(self.lab.spool, name, request, {}, None, Path("/dev/null"))

    def reports(self) -> list[str]:
        return spool.ready(self.lab.spool, spool.REPORTS)


@pytest.fixture
def rig(tmp_path: Path) -> Rig:
    lab = lab_from_text(f"state_dir: {tmp_path}\n{SLOTS}", tmp_path / "lab.yml", {})
    for side in (spool.JOBS, spool.REPORTS):
        spool.make(lab.spool, side)
    return Rig(lab)


def test_one_run_for_each_slot(rig: Rig) -> None:
    for name, slot in ((FIRST, "hut-01"), (SECOND, "hut-01"), (OTHER, "hut-02")):
        rig.job(name, slot)
    bench = rig.bench()
    bench.round()
    bench.round()
    assert [run.name for run in rig.runs] == [FIRST, OTHER]
    rig.runs[0].end()
    bench.round()
    assert [run.name for run in rig.runs] == [FIRST, OTHER, SECOND]
    assert rig.reports() == [FIRST]
    assert rig.said[0] == f"acme/firmware {COMMIT[:12]} on hut-01: begins"


def test_a_slot_that_somebody_holds_is_waited_for(rig: Rig) -> None:
    rig.job(FIRST, "hut-01")
    rig.held.add("hut-01")
    bench = rig.bench()
    bench.round()
    assert rig.runs == []
    rig.held.clear()
    bench.round()
    assert [run.name for run in rig.runs] == [FIRST]


def test_a_run_that_was_killed_is_begun_again_but_not_for_ever(rig: Rig) -> None:
    rig.job(FIRST, "hut-01")
    bench = rig.bench()
    for _ in range(2 * MOST_TRIES):
        bench.round()
        if rig.runs[-1].code is None:
            rig.runs[-1].end(partial=True, code=-9)
    assert len(rig.runs) == MOST_TRIES
    assert rig.reports() == [FIRST]


def test_a_bench_that_was_killed_leaves_its_jobs_to_the_next_but_not_for_ever(rig: Rig) -> None:
    rig.job(FIRST, "hut-01")
    for _ in range(MOST_TRIES + 1):
        rig.bench().round()
    assert len(rig.runs) == MOST_TRIES
    assert rig.reports() == [FIRST]


def test_what_has_run_is_not_run_again(rig: Rig) -> None:
    rig.job(FIRST, "hut-01")
    bench = rig.bench()
    bench.round()
    rig.runs[0].end()
    bench.round()
    rig.bench().round()
    assert len(rig.runs) == 1
    spool.withdraw(rig.lab.spool, FIRST)
    bench.round()
    assert rig.reports() == []


def test_a_job_that_cannot_be_read_stops_no_other(rig: Rig) -> None:
    for name in (FIRST, OTHER):
        rig.job(name, "hut-01")
    (rig.lab.spool / spool.JOBS / FIRST / spool.REQUEST).write_text("{")
    rig.bench().round()
    assert [run.name for run in rig.runs] == [OTHER]


def test_a_lab_yml_that_is_half_saved_uses_up_no_try_and_is_told_once(rig: Rig) -> None:
    rig.job(FIRST, "hut-01")
    bench, said, broken = rig.bench(), [], [ConfigError("lab.yml:7: is no YAML")]
    bench.say = said.append

    def check() -> None:
        for error in broken:
            raise error

    bench.check = check
    for _ in range(2 * MOST_TRIES):
        bench.round()
    assert (rig.runs, said) == ([], [f"{FIRST}: lab.yml:7: is no YAML"])
    broken.clear()
    bench.round()
    assert [run.name for run in rig.runs] == [FIRST]


def test_ending_ends_the_runs_and_publishes_none(rig: Rig) -> None:
    rig.job(FIRST, "hut-01")
    bench = rig.bench()
    bench.round()
    bench.stop()
    assert rig.runs[0].terminated
    assert rig.reports() == []


@pytest.mark.parametrize("marked", [False, True])
def test_a_bench_that_was_killed_after_a_run_had_ended_does_not_run_it_again(marked: bool, rig: Rig) -> None:
    """Without its mark it was cancelled, or the lab's baseline is not back."""
    rig.job(FIRST, "hut-01")
    rig.bench().round()
    rig.runs[0].end()
    if marked:
        (rig.runs[0].out / ENDED).touch()
    rig.bench().round()
    assert (len(rig.runs), rig.reports()) == ((1, [FIRST]) if marked else (2, []))


def test_a_bench_that_is_ended_properly_uses_up_no_try(rig: Rig) -> None:
    rig.job(FIRST, "hut-01")
    for _ in range(2 * MOST_TRIES):
        bench = rig.bench()
        bench.round()
        bench.stop()
    assert len(rig.runs) == 2 * MOST_TRIES
    assert rig.reports() == []


@pytest.mark.parametrize("abstract", [False, True])
def test_systemd_hears_that_it_lives(abstract: bool, tmp_path: Path) -> None:
    name = f"@hut-ci-{tmp_path.name}" if abstract else str(tmp_path / "notify")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as line:
        line.bind(f"\0{name[1:]}" if abstract else name)
        line.settimeout(10)
        notify(name, "READY=1", "STATUS=2 jobs")
        assert line.recv(1000) == b"READY=1\nSTATUS=2 jobs"
    notify(name, "WATCHDOG=1")
    notify(None, "WATCHDOG=1")
