"""faults.yml, row by row: every fault of the virtual lab, through the real program, to the last word of its report."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import yaml
from conftest import Firmware, LabOf
from console_script import Answer, HutCi

from hut_ci import contracts
from hut_ci.claims import flock
from hut_ci.config import load_lab
from hut_ci.deadline import Deadline
from hut_ci.forges.local import LocalForge
from hut_ci.reports.states import of_verdict
from hut_ci.reports.status_text import GITHUB_LIMIT, status_text
from hut_ci.stages.slot import Note
from hut_ci.stages.verdict import table
from hut_ci.virtual import faults, relay
from hut_ci.virtual.app_script import script_from_steps
from hut_ci.virtual.lab import VirtualLab

SHA = "0123456789abcdef0123456789abcdef01234567"
BLANK = b"\xff" * 4096
PLACEHOLDERS = {"n": r"[\d.]+", "hex": "0x[0-9a-f]+", "any": ".+"}
# Rows of the evidence table that need another start than a build on a virtual board; the tests that have them.
ELSEWHERE = {
    "invalid_header": "unit/test_suite.py",
    "image_refused": "unit/test_suite.py",
    "revision_refused": "unit/test_suite.py",
    "no_app": "unit/test_suite.py",
    "broken_build": "test_outcomes.py",
    "usage": "test_outcomes.py",
    "config": "test_outcomes.py",
    "empty_suite": "test_outcomes.py",
    "not_flashable": "test_outcomes.py",
    "no_artifact": "test_outcomes.py",
    "hostile_archive": "test_outcomes.py",
    "download_failed": "test_forges.py",
    "slot_busy": "test_outcomes.py",
    "slot_absent": "test_outcomes.py",
    "slot_quarantined": "test_outcomes.py",
    "runner_absent": "test_gate_blocked.py",
    "runner_offline": "test_gate_blocked.py",
    "too_late": "test_publish_later.py",
    "flash_chip_error": "unit/esptool",
    "flash_failed": "unit/esptool",
    "flash_timeout": "unit/esptool",
    "no_report": "test_publish_later.py",
    "publish_failed": "test_outcomes.py",
    "forge_error": "test_forges.py",
    "already_passed": "test_forges.py",
    "no_answer": "test_publish_later.py",
    "lab_away": "test_watch.py",
    "runs_used_up": "integration/test_watch_publisher.py",
    "not_watched": "integration/test_watch_trouble.py",
    "superseded": "integration/test_watch_publisher.py",
    "refused": "test_forges.py",
    "cancelled": "test_kills.py",
    "killed": "test_kills.py",
    "bug": "nobody knows how",
}


@dataclass(frozen=True, slots=True)
class Row:
    """One row of faults.yml; its head says what the keys mean."""

    evidence: str
    verdict: str
    exit: int
    sentence: str
    faults: tuple[str, ...] = ()
    relay: tuple[str, ...] = ()
    relay_off: bool = False
    line: str = "pty"
    wiring: str = "with_board"
    power: Mapping[str, object] | str = field(default_factory=dict)
    slot: Mapping[str, Any] = field(default_factory=dict)
    lab: Mapping[str, Any] = field(default_factory=dict)
    golden: bool = False
    app: tuple[dict[str, object], ...] = ({"do": "log", "text": "ready"},)
    build: Mapping[str, Any] = field(default_factory=dict)
    suite: Mapping[str, Any] = field(default_factory=dict)
    options: tuple[object, ...] = ()
    forge: bool = False
    status: str | None = None
    shown: str | None = None
    steps: tuple[str, ...] = ()
    restored: tuple[str, ...] = ()
    attempts: int = 1
    cycles: int = 0
    untouched: bool = False
    retried: bool = False
    log_below: int | None = None
    slow: bool = False


def _read() -> tuple[dict[str, Any], dict[str, Row]]:
    document = yaml.safe_load(Path(__file__).with_name("faults.yml").read_text("utf-8"))
    rows: dict[str, dict[str, Any]] = document["rows"]
    return document["suite"], {name: _row(values) for name, values in rows.items()}


def _row(values: dict[str, Any]) -> Row:
    fields: dict[str, Any] = {key: tuple(value) if isinstance(value, list) else value for key, value in values.items()}
    return Row(**fields)


SUITE, ROWS = _read()


# --- the table itself ---------------------------------------------------------------------------------------


def test_every_fault_has_a_row() -> None:
    named = {faults.parse_fault(fault).name for row in ROWS.values() for fault in row.faults}
    assert named == set(faults.FAULTS)
    assert {fault.partition(":")[0] for row in ROWS.values() for fault in row.relay} == set(relay.FAULTS)


def test_every_evidence_has_a_row_or_another_test() -> None:
    seen = {row.evidence for row in ROWS.values()}
    assert seen | set(ELSEWHERE) == set(table())
    assert not seen & set(ELSEWHERE)


@pytest.mark.parametrize("name", ROWS)
def test_the_row_agrees_with_the_evidence_table(name: str) -> None:
    """A row cannot expect a green end of anything but a passed suite, nor a second attempt of a failed firmware."""
    row, rule = ROWS[name], table()[ROWS[name].evidence]
    assert (row.verdict, row.exit) == (rule.verdict, rule.exit)
    assert (row.verdict == "pass") == (row.shown is not None) == (row.exit == 0)
    if rule.blame == "firmware" and not row.suite.get("retry_failures"):
        assert row.attempts == 1 + len(row.steps)
    if row.steps and row.verdict == "pass":
        assert row.shown is not None
        assert re.search(r"flaky|recovered", row.shown), "a pass that needed help says so"


# --- one run for each row --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=[pytest.mark.real] if row.slow else []) for name, row in ROWS.items()]
)
def test_row(name: str, lab_of: LabOf, hut_ci: HutCi, firmware: Firmware) -> None:
    """Design decisions 5 to 7: blame from evidence, bounded and visible recovery, power believed only when proven."""
    row = ROWS[name]
    lab = _lab(row, lab_of, firmware, hut_ci.folder)
    before = lab.boards["hut-01"].flash
    answer = _run(row, hut_ci, lab, firmware)
    _check_verdict(row, answer, lab)
    _check_recovery(row, answer)
    _check_folder(row, answer)
    _check_what_is_left(row, lab)
    assert (lab.boards["hut-01"].flash == before) >= row.untouched
    if row.forge:
        _check_status(row, answer, hut_ci.folder / "forge")


def _lab(row: Row, lab_of: LabOf, firmware: Firmware, folder: Path) -> VirtualLab:
    slot = _filled(dict(row.slot), str(folder / "lab" / "dev"))
    if row.golden:
        slot["golden"] = str(firmware("golden", project="golden"))
    if row.power == "none":
        slot["power"] = "none"
    options = dict(row.lab)
    log_limit = options.pop("log_limit", None)
    lab = lab_of(
        faults={"hut-01": row.faults},
        relay_faults=row.relay,
        transport=row.line,
        power_wiring=row.wiring,
        power={"timeout": 10, **row.power} if isinstance(row.power, dict) else None,
        settings={"hut-01": slot},
        **options,
    )
    if log_limit:
        lab.lab_yml.write_text(f"log_limit: {log_limit}\n" + lab.lab_yml.read_text())
    return lab


def _filled(value: Any, dev: str) -> Any:
    if isinstance(value, dict):
        return {key: _filled(entry, dev) for key, entry in value.items()}
    if isinstance(value, list):
        return [_filled(entry, dev) for entry in value]
    return value.replace("{dev}", dev) if isinstance(value, str) else value


def _run(row: Row, hut_ci: HutCi, lab: VirtualLab, firmware: Firmware) -> Answer:
    hut = hut_ci.folder / "hut.yml"
    hut.write_text(yaml.safe_dump({"suite": {**SUITE, **row.suite}}))
    build = firmware(*script_from_steps(list(row.app)).steps, **row.build)
    forge = ("--commit", SHA, "--forge", f"local:{hut_ci.folder / 'forge'}") if row.forge else ()
    return hut_ci.run(build, "--hut", hut, *forge, *row.options, lab=lab.lab_yml)


def _check_verdict(row: Row, answer: Answer, lab: VirtualLab) -> None:
    verdict = answer.hardware["verdict"]
    seen = (verdict["evidence"]["id"], verdict["name"], verdict["exit_code"], answer.code)
    assert seen == (row.evidence, row.verdict, row.exit, row.exit), f"{verdict['sentence']}\n{answer}"
    assert re.fullmatch(_pattern(row.sentence, lab), verdict["sentence"]), verdict["sentence"]
    head = f"hut-01  {row.shown}: " if row.shown else "hut-01  "
    assert answer.stdout.startswith(f"{head}{verdict['sentence']}\n"), answer.stdout
    assert answer.stderr == ""


def _pattern(sentence: str, lab: VirtualLab) -> str:
    pattern = re.escape(sentence)
    port = load_lab(lab.lab_yml).slots[0].serial[0]
    for name, meaning in {**PLACEHOLDERS, "port": re.escape(port)}.items():
        pattern = pattern.replace(rf"\{{{name}\}}", meaning)
    return pattern


def _check_recovery(row: Row, answer: Answer) -> None:
    hardware = answer.hardware
    events = hardware["recovery_events"]
    assert [event["step"] for event in events if not event["restoring"]] == list(row.steps), events
    assert [event["step"] for event in events if event["restoring"]] == list(row.restored), events
    assert hardware["power_cycle_count"] == row.cycles
    seen = [attempt["evidence"]["id"] for attempt in hardware["attempts"]]
    assert len(seen) == row.attempts, seen
    blamed = [evidence for evidence in seen if table()[evidence].blame == "firmware"]
    assert len(blamed) <= 1 + row.suite.get("retry_failures", 0), "firmware evidence is final on the first attempt"


def _check_folder(row: Row, answer: Answer) -> None:
    report = answer.report
    assert report is not None
    assert contracts.check(report, "ws2.report.v1") == []
    assert contracts.check(report["hardware"], "hut.hardware.v1") == []
    assert not report["hardware"]["partial"]
    assert report["status"] == of_verdict(report["hardware"]["verdict"]).ws2
    names = {path.name for path in answer.out.iterdir()}
    assert {"report.json", "junit.xml", "summary.md"} <= names
    assert set(report["artifact_paths"]) <= names
    if row.retried:
        assert "[exit 2 " in (answer.out / "attempt-1-esptool.log").read_text("utf-8")
    if row.log_below:
        assert max(path.stat().st_size for path in answer.out.glob("*serial*")) < row.log_below


def _check_what_is_left(row: Row, lab: VirtualLab) -> None:
    """The next claimant finds a free slot, a relay that is on, and a line that only one program ever wrote to."""
    product_lab = load_lab(lab.lab_yml)
    with flock.claim(product_lab, product_lab.slots[0], note=Note(), deadline=Deadline(0)):
        assert lab.relay.states[lab.entity("hut-01")] is not row.relay_off
        assert lab.boards["hut-01"].powered is not row.relay_off
    counted = [fault.name for fault in map(faults.parse_fault, row.faults) if fault.count is not None]
    if row.verdict == "pass":
        assert not [name for name in counted if lab.boards["hut-01"].faults.find(name)], "the fault never came"
    if "port_held" not in row.faults:
        assert lab.boards["hut-01"].violations == []


def _check_status(row: Row, answer: Answer, forge: Path) -> None:
    (status,) = LocalForge(forge).statuses(SHA)
    assert (status.state, status.context) == (row.status, "hardware / hut-01")
    assert answer.report is not None
    assert status.description == status_text(answer.report, GITHUB_LIMIT)
