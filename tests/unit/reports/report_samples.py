"""One report per way to end; `python tests/unit/reports/report_samples.py` rewrites tests/data/reports/runs/."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from hut_ci.model import (
    AppDescriptor,
    Artifact,
    Attempt,
    Board,
    Boot,
    Case,
    Evidence,
    FlashPlan,
    FlashResult,
    Part,
    Partition,
    RecoveryEvent,
    Report,
    StageRecord,
    SuiteResult,
    Verdict,
)
from hut_ci.reports.json_document import to_bytes, to_document
from hut_ci.stages.report import interrupted
from hut_ci.stages.verdict import judge

RUNS = Path(__file__).parents[2] / "data" / "reports" / "runs"
SHA = "0123456789abcdef0123456789abcdef01234567"
START = "2026-02-12T15:30:10.000Z"
BOARD = Board("esp32", "24:0a:c4:00:00:10", (3, 1), 4 << 20, 0, "ESP32-D0WD-V3 (revision v3.1)")
BOOT = Boot("POWERON_RESET", "factory", 0x10000, "hello", "1.2.0", "Feb 12 2026 15:02:11", None, "v5.5")
PANIC_LOG = (
    "ets Jul 29 2019 12:21:46",
    "",
    "rst:0x1 (POWERON_RESET),boot:0x13 (SPI_FAST_FLASH_BOOT)",
    "I (31) boot: ESP-IDF v5.5 2nd stage bootloader",
    "I (322) app_init: Project name:     hello",
    "\x1b[0;32mI (350) main_task: Calling app_main()\x1b[0m",
    "``` </details> <script>alert(1)</script> @octocat ::error::owned",
    "Guru Meditation Error: Core  0 panic'ed (LoadProhibited). Exception was unhandled.",
    "PC      : 0x400d5e1c  PS      : 0x00060f30  A0      : 0x800d5e48  A1      : 0x3ffb5f50",
    "Backtrace: 0x400d5e19:0x3ffb5f50 0x400d5e45:0x3ffb5f70 0x400e2f3b:0x3ffb5f90",
)
PLAN = FlashPlan(
    parts=(
        Part(0x1000, Path("/srv/private/bootloader.bin"), 26080, "aa" * 32, "bootloader", "bootloader.bin"),
        Part(0x10000, Path("/srv/private/hello.bin"), 181776, "bb" * 32, "app", "hello.bin"),
    ),
    chip="esp32",
    source_format="flasher_args.json",
    flash_needed=0x110000,
    partitions=(
        Partition("nvs", "data", "nvs", 0x9000, 0x6000),
        Partition("factory", "app", "factory", 65536, 1 << 20),
    ),
    kept=("nvs",),
    erased=("otadata",),
    apps=(AppDescriptor("hello", "1.2.0", "v5.5", "Feb 12 2026 15:02:11", None, 0x10000, "factory"),),
    min_revision=(0, 0),
)
PASSED = Evidence("passed", {"summary": "boots hello 1.2.0 from factory in 1.4 s"})
PANIC = Evidence("panic", {"where": "app_main ", "reason": "(LoadProhibited)", "seconds": "0.4"})
SILENCE = Evidence("silence", {"why": "no golden image to tell who is to blame"})
NO_SYNC = Evidence("no_sync", {"reason": "no serial data received"})


def attempt(number: int, evidence: Evidence, *, flash: Evidence | None = None, lines: tuple[str, ...] = ()) -> Attempt:
    """One attempt that ended with `evidence`; a `flash` evidence means that no suite ran."""
    written = FlashResult(flash, BOARD, 921600, 207856, 0, 3.1, Path("/srv/private/esptool-1.log"))
    stages = [StageRecord("flash", START, 3.1, flash.id if flash else "ok", "")]
    if flash:
        return Attempt(number, tuple(stages), evidence, written)
    passed = evidence.id == "passed"
    stages.append(StageRecord("suite", START, 1.4, "ok" if passed else evidence.id, ""))
    cases = (
        Case("the application starts", "pass", 0.4),
        Case("ready|console>", "pass" if passed else "fail", 1.0, "" if passed else "panic came first"),
        Case("Wi-Fi is up", "pass" if passed else "skipped", 0.0),
    )
    suite = SuiteResult(evidence, BOOT, 0, cases, lines, Path(f"/srv/private/serial-{number}.log"), 1.4)
    return Attempt(number, tuple(stages), evidence, written, suite)


def report(verdict: Verdict, **fields: Any) -> Report:
    known: dict[str, Any] = {
        "slot": "hut-01",
        "label": "esp32-hut-01",
        "lab": "kitchen",
        "variant": "4m",
        "lock_key": "hut-01",
        "commit_sha": SHA,
        "built_sha": SHA,
        "repository": "acme/hello",
        "artifact": Artifact(
            "upstream_artifact", "fw-4m", "sha256:" + "cc" * 32, Path("/x"), "local", "7", "9", SHA, SHA
        ),
        "plan": PLAN,
        "board": BOARD,
        "logs": {"serial": "serial-1.log", "esptool": "esptool-1.log"},
        "request_digest": "ee" * 32,
        "project_digest": "dd" * 32,
        "notes": ("settings in nvs are kept",),
    }
    return Report("run-0001", START, "2026-02-12T15:30:17.500Z", 7.5, verdict, **{**known, **fields})


def event(step: str, cause: str, outcome: str = "ok", *, restoring: bool = False) -> RecoveryEvent:
    return RecoveryEvent(step, START, 4.2, outcome, cause, restoring=restoring)


def samples() -> dict[str, Report]:
    """Every verdict, with each of its marks."""
    cycle, retry = event("power_cycle", "no_sync"), event("retry", "panic")
    restored = event("reset", "panic", restoring=True)
    lost = attempt(1, NO_SYNC, flash=NO_SYNC)
    failed = attempt(1, PANIC, lines=PANIC_LOG)
    deadline = Evidence("suite_deadline", {"limit": "60"})
    busy = Evidence("slot_busy", {"what": "hut-01 is held by ada since 15:02 (pid 4711)"})
    return {
        "pass": report(judge(PASSED), attempts=(attempt(1, PASSED, lines=("ready",)),)),
        "recovered": report(
            judge(PASSED, recovery=[cycle]), attempts=(lost, attempt(2, PASSED)), recovery=(cycle,), power_cycles=1
        ),
        "flaky": report(
            judge(PASSED, recovery=[retry], firmware_failures=1),
            attempts=(failed, attempt(2, PASSED, lines=("ready",))),
            recovery=(retry,),
        ),
        "fail": report(judge(PANIC), attempts=(failed,), recovery=(restored,)),
        "error": report(
            judge(SILENCE, recovery=[cycle]), attempts=(lost, attempt(2, SILENCE)), recovery=(cycle,), power_cycles=1
        ),
        "timed_out": report(judge(deadline), attempts=(attempt(1, deadline),)),
        "config": report(judge(Evidence("config", {"what": "hut.yml: unknown key `exepct`"})), plan=None, board=None),
        "blocked": report(judge(busy), plan=None, board=None, logs={}),
        "cancelled": report(judge(Evidence("cancelled", {"signal": "15", "name": "SIGTERM"})), attempts=(), logs={}),
        "killed": interrupted(report(judge(PASSED), board=None, logs={}), "flash", "2026-02-12T15:30:12.000Z"),
    }


def document(sample: Report) -> dict[str, Any]:
    """The document without the host that made it."""
    return {**to_document(sample), "executor": {"hostname": "lab", "user": "ci"}}


if __name__ == "__main__":
    RUNS.mkdir(parents=True, exist_ok=True)
    for name, sample in samples().items():
        (RUNS / f"{name}.json").write_bytes(to_bytes(document(sample)))
