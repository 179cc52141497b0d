"""What ESP-IDF's panic handler prints: reason and place, collected over several lines; pure."""

from __future__ import annotations

import re
from pathlib import PurePosixPath

_GURU = re.compile(r"Guru Meditation Error: Core\s+(\d)\s+panic'ed \((.*?)\)(?:\.|\s|$)")
_DEBUG = re.compile(r"Debug exception reason: (.+)$")
_OVERFLOW = re.compile(r"stack overflow in task (\S+)")
_CANARY = re.compile(r"Stack canary watchpoint triggered \(([^)]+)\)")
_ASSERT = re.compile(r"assert failed: (.+)$")
_OLD_ASSERT = re.compile(r'assertion ".*" failed: file "([^"]+)", line (\d+)')
_ERROR_CHECK = re.compile(r"ESP_ERROR_CHECK failed: esp_err_t (\S+(?: \(\w+\))?)")
_SOURCE = re.compile(r'file: "([^"]+)" line (\d+)')
_ABORT = re.compile(r"abort\(\) was called at PC (0x[0-9a-f]+)")
_KEYWORD = re.compile(r"Guru|exception|overflow|canary|assert|ESP_ERROR|file: |abort\(\)|Reboot|halted|gdb|Restart")
_END = re.compile(r"\bRebooting\.\.\.|CPU halted|Entering gdb stub|Restarting now")


class CrashReader:
    """Feed it every line of a boot; `reason` and `where` are empty until something was printed."""

    def __init__(self) -> None:
        self.core: int | None = None
        self.reason = ""
        self.where = ""
        self.task = ""
        self.ended = False

    def feed(self, line: str) -> None:
        if _KEYWORD.search(line) is None:  # nearly every line: one search instead of nine
            return
        self._panic(line)
        self._abort(line)
        self.ended = self.ended or _END.search(line) is not None

    def _panic(self, line: str) -> None:
        guru = _GURU.search(line)
        if guru is not None:
            self.core, self.reason = int(guru[1]), guru[2]
        debug = _DEBUG.search(line)
        if debug is not None:
            self.reason = debug[1].strip()
        overflow = _OVERFLOW.search(line)
        canary = _CANARY.search(line)
        if overflow is not None:
            self.task, self.reason = overflow[1], "stack overflow"
        elif canary is not None:
            self.task, self.reason = canary[1], "stack overflow (canary)"

    def _abort(self, line: str) -> None:
        assertion = _ASSERT.search(line)
        old = _OLD_ASSERT.search(line) or _SOURCE.search(line)
        check = _ERROR_CHECK.search(line)
        address = _ABORT.search(line)
        if assertion is not None:
            self.where = assertion[1].strip()
        elif old is not None:
            self.where = f"{PurePosixPath(old[1]).name}:{old[2]}" + (f" ({self.reason})" if self.reason else "")
        elif check is not None:
            self.reason = check[1]
        elif address is not None and not self.where:
            self.where = f"PC {address[1]}"
