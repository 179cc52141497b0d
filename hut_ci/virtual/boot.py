"""A chip's life from one reset to the next: loaders, start-up code, and the application's console."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass

from hut_ci.virtual import crash_text
from hut_ci.virtual.app_script import Console, Delay, Out, Remark, Restart, Script, Spam, Step, crash, from_image, play
from hut_ci.virtual.boot_log import BootLog
from hut_ci.virtual.chips import ResetReason
from hut_ci.virtual.faults import FaultSet
from hut_ci.virtual.nor_flash import NorFlash
from hut_ci.virtual.partitions import APP, write_choice
from hut_ci.virtual.second_stage import BoardFacts, Loaded, run_loaders
from hut_ci.virtual.start_up import idf_version, start_app

_LOOP_SECONDS = 0.1
_CRASH_AFTER_SECONDS = 0.02


@dataclass(slots=True)
class History:
    """What survives resets. `input`: bytes from the host that the app has not read yet."""

    app_starts: int = 0
    input: bytes = b""

    def take_line(self) -> str | None:
        """The next complete line without its end (CR, LF or both), or None."""
        text = self.input.replace(b"\r\n", b"\n").replace(b"\r", b"\n")
        head, end, rest = text.partition(b"\n")
        if not end:
            return None
        self.input = rest
        return head.decode(errors="replace")


def life(
    board: BoardFacts,
    flash: NorFlash,
    reason: ResetReason,
    history: History,
    faults: FaultSet,
    recorded_log: bytes | None = None,
) -> Iterator[Step]:
    """Everything from one reset to the next."""
    history.input = b""
    log = BootLog()
    loaded, next_reason = run_loaders(board, flash, reason, log)
    if loaded is None:
        yield from log.steps(board.boot_seconds)
        yield Remark("boot", f"refused: {log.last}")
        yield Delay(max(_LOOP_SECONDS, board.boot_seconds))
        yield Restart(next_reason)
        return
    start_app(board, loaded, log)
    yield from log.steps(board.boot_seconds)
    yield from _run_app(board, flash, loaded, log.ms, history, faults, recorded_log)


def _run_app(
    board: BoardFacts,
    flash: NorFlash,
    loaded: Loaded,
    ms: int,
    history: History,
    faults: FaultSet,
    recorded_log: bytes | None,
) -> Iterator[Step]:
    history.app_starts += 1
    app = loaded.image.app
    sha = app.elf_sha256 if app else bytes(32)
    began = time.monotonic()

    def log(level: str, tag: str, text: str) -> bytes:
        return f"{level} ({ms + int((time.monotonic() - began) * 1000)}) {tag}: {text}\r\n".encode()

    console = Console(
        log=log,
        take_line=history.take_line,
        panic=lambda cause: crash_text.panic_text(board.chip, cause, sha),
        abort=lambda: crash_text.abort_text(board.chip, sha),
        starts=history.app_starts,
        choose_ota=lambda ota: write_choice(flash, ota),
    )
    slot = loaded.partition.slot if loaded.partition.type == APP else "?"
    yield Remark("boot", f"app {slot}")
    yield Remark("app_started", f"{slot} {app.project} {app.version}" if app else slot)
    broken = _broken_app(console, faults)
    if broken is not None:
        yield Delay(_CRASH_AFTER_SECONDS)
        yield from broken
        return
    script = from_image(loaded.data)
    if script is None and recorded_log is not None:
        yield Out(recorded_log.replace(b"\r\n", b"\n").replace(b"\n", b"\r\n"))
        return
    if script is None and idf_version(app) < (5, 0):
        yield Out(log("I", "main_task", "Calling app_main()"))  # older start-up code does not say it; something has to
    script = script or Script()
    if script.needs_psram and not board.psram:
        yield Out(log("E", "quad_psram", "PSRAM ID read error: 0xffffffff"))
        yield Out(log("E", "cpu_start", "Failed to init external RAM!"))
        yield from crash(console.abort())
        return
    yield from play(script, console)


def _broken_app(console: Console, faults: FaultSet) -> Iterator[Step] | None:
    """What a fault makes of this start of the app; None: nothing."""
    steps: list[Step]
    if faults.take("hang"):
        steps = [Remark("app_hangs")]
        return iter(steps)
    if faults.take("panic") or (console.starts % 2 and faults.take("panic_every_second_boot")):
        return crash(console.panic("LoadProhibited"))
    if faults.take("boot_loop"):
        steps = [Restart(ResetReason.SOFTWARE_CPU)]
        return iter(steps)
    if faults.take("brownout"):
        steps = [Out(crash_text.brownout_text()), Restart(ResetReason.BROWNOUT)]
        return iter(steps)
    if faults.take("console_spam"):
        return play(Script((Spam(),)), console)
    return None
