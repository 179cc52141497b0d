"""How esptool is called: as a program under a deadline, in an empty folder of its own, with the options that we chose.

It is GPL, so it is neither imported nor copied; and it reads `esptool.cfg`, `setup.cfg` and `tox.ini` of its working
directory, custom reset sequences included, so the folder it runs in holds nothing but the files to write.
"""

from __future__ import annotations

import sys
import sysconfig
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from hut_ci.deadline import Deadline
from hut_ci.errors import FlashError
from hut_ci.esptool.pieces import Piece, Probe
from hut_ci.model import FlashPlan
from hut_ci.process import Finished, clean_environment, private_folder, run

SYNC_BAUD = 115200
"""The ROM loader measures the rate at the first SYNC, but esptool always starts here (baud)."""
CONNECT_ATTEMPTS = 4
"""esptool goes through four reset sequences on a UNIX serial port (fast and slow, two ways): fewer attempts never try
the slow ones, which boards with a large EN capacitor need; more only repeat them. A dead board costs 3 to 5 s."""
REMOTE_CONNECT_ATTEMPTS = 3
"""Over RFC2217 there are two sequences (fast, slow) at 2.2 s per attempt: both, and one more for a lost packet; 7 s."""
STUB_ATTEMPTS = 1
"""Without a reset a second attempt finds what the first one found: the stub answers, or the board has restarted."""
SHIM = Path(__file__).parent / "rfc2217_shim"
_PROBED = "probed.bin"


@dataclass(frozen=True, slots=True)
class Identified:
    """How the identifying call ended, and the bytes at the probe's place (None where they were not read)."""

    finished: Finished
    probed: bytes | None


@dataclass(frozen=True, slots=True)
class Esptool:
    """The program to run; `program` is replaced by tests, never by a configuration file."""

    program: Path | None = None

    def identify(
        self,
        port: str,
        *,
        deadline: Deadline,
        log: Path,
        probe: Probe | None = None,
        on_output: Callable[[bytes], None] | None = None,
    ) -> Identified:
        """Chip, MAC, revision and flash size (`output.board` reads them), leaving the stub running at `SYNC_BAUD`.

        With a `probe` the same call also reads that place of the flash.
        """
        command = ["flash-id"]
        if probe:
            place = [f"{probe.offset:#x}", f"{len(probe.expected):#x}"]
            command = ["read-flash", "--flash-size", "detect", "--", *place, _PROBED]
        argv = [*_connect(port, "auto", SYNC_BAUD, fresh=True), "--after", "no-reset-stub", *command]
        with private_folder() as folder:
            finished = self._run(argv, folder, deadline, log, on_output)
            probed = folder / _PROBED
            return Identified(finished, probed.read_bytes() if probed.is_file() else None)

    def write(
        self,
        port: str,
        plan: FlashPlan,
        files: Sequence[Piece],
        *,
        chip: str,
        baud: int,
        fresh: bool,
        deadline: Deadline,
        log: Path,
        on_output: Callable[[bytes], None] | None = None,
    ) -> Finished:
        """`write-flash`; `fresh` resets into the ROM loader first, otherwise the kept stub goes on.

        The chip stays in its loader: it starts only when somebody is listening.
        """
        argv = [*_connect(port, chip, baud, fresh=fresh), "--after", "no-reset", *write_arguments(plan, files)]
        with private_folder() as folder:
            for piece in files:
                (folder / piece.file_name).write_bytes(piece.read())
            return self._run(argv, folder, deadline, log, on_output)

    def _run(
        self,
        arguments: Sequence[str],
        folder: Path,
        deadline: Deadline,
        log: Path,
        on_output: Callable[[bytes], None] | None,
    ) -> Finished:
        # COLUMNS: rich wraps progress lines at 80 characters where there is no terminal.
        extra = {"PYTHONSAFEPATH": "1", "PYTHONUNBUFFERED": "1", "COLUMNS": "250"}
        if any(word.startswith("rfc2217://") for word in arguments):
            extra["PYTHONPATH"] = str(SHIM)
        argv = [str(self.program or console_script()), *arguments]
        _append(log, f"$ {' '.join(argv)}\n")
        env = clean_environment(folder, **extra)
        finished = run(argv, deadline=deadline, cwd=folder, env=env, on_output=on_output, log=log)
        outcome = "killed at its deadline" if finished.timed_out else f"exit {finished.returncode}"
        _append(log, f"[{outcome} after {finished.seconds:.1f} s]\n\n")
        return finished


def write_arguments(plan: FlashPlan, files: Sequence[Piece]) -> list[str]:
    """`write-flash` and its arguments, in esptool 5's spelling."""
    operands = [word for piece in files for word in (f"{piece.offset:#x}", piece.file_name)]
    settings = ["--flash-mode", plan.mode, "--flash-freq", plan.freq, "--flash-size", plan.size]
    # On an erased chip nothing can match: comparing first would only cost the time of the hash.
    return ["write-flash", *settings, "--erase-all" if plan.erase_all else "--skip-flashed", "--", *operands]


def console_script(folders: Sequence[Path] = ()) -> Path:
    """The `esptool` of our own environment (or of `folders`), never one from PATH.

    Raises FlashError where there is none.
    """
    folders = folders or (Path(sys.executable).parent, Path(sysconfig.get_path("scripts")))
    for folder in folders:
        if (folder / "esptool").is_file():
            return folder / "esptool"
    raise FlashError(
        "esptool is not installed beside hut-ci",
        why=f"there is no program `esptool` in {folders[0]}",
        todo="install hut-ci into an environment of its own (pipx install hut-ci)",
        fields={"reason": "esptool is not installed"},
    )


def _connect(port: str, chip: str, baud: int, *, fresh: bool) -> list[str]:
    reset_attempts = REMOTE_CONNECT_ATTEMPTS if port.startswith("rfc2217://") else CONNECT_ATTEMPTS
    before, attempts = ("default-reset", reset_attempts) if fresh else ("no-reset", STUB_ATTEMPTS)
    line = ["--chip", chip, "--port", port, "--baud", str(baud)]
    return [*line, "--before", before, "--connect-attempts", str(attempts)]


def _append(log: Path, text: str) -> None:
    with log.open("a", encoding="utf-8") as stream:
        stream.write(text)
