"""One conversation with one board: identify it, write to it, and turn what esptool says into evidence."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from hut_ci.deadline import Deadline
from hut_ci.esptool import output
from hut_ci.esptool.call import SYNC_BAUD, Esptool
from hut_ci.esptool.pieces import Piece, pieces, probe
from hut_ci.esptool.progress import Progress, ProgressReader
from hut_ci.model import Board, Evidence, FlashPlan
from hut_ci.process import Finished

IDENTIFY_SECONDS = 30.0
"""A dead board takes 4 to 8 s, a live one 1 to 3 s; the rest is for a slow RFC2217 link."""
CONNECT_SECONDS = 30.0


def write_seconds(plan: FlashPlan, baud: int) -> float:
    """How long a write may take: three times what the bytes need uncompressed, on a slow chip, and the connection.

    Per MiB: erase and program 8 s (64 KiB blocks of 150 ms and 256 B pages of 0.4 ms need 4), two hashes 4 s each.
    Erasing a whole chip: 64 s for 16 MiB is a typical maximum of data sheets.
    """
    mebibytes = plan.bytes_total / (1 << 20)
    wire = plan.bytes_total * 10 / baud
    return CONNECT_SECONDS + 3 * wire + 16 * mebibytes + (90.0 if plan.erase_all else 0.0)


@dataclass(slots=True)
class Session:
    """What is fixed in one flash attempt, and what is known so far; `log` gets all of esptool's text.

    `holder_of(port)` answers (program, pid) of whoever has a busy port open.
    """

    esptool: Esptool
    port: str
    plan: FlashPlan
    log: Path
    deadline: Deadline
    baud: int
    on_progress: Callable[[Progress], None]
    holder_of: Callable[[str], tuple[str, str]]
    board: Board | None = None
    written: int = 0
    stub_kept: bool = False
    sliced: bool = False
    mismatches: list[tuple[Piece | None, str]] = field(default_factory=list)

    def identify(self) -> Board | Evidence:
        """Read the board and leave the stub running."""
        self.on_progress(Progress("identify", f"reading the board on {self.port}"))
        limit, wanted = self.deadline.within(IDENTIFY_SECONDS), probe(self.plan)
        found = self.esptool.identify(
            self.port, deadline=limit, log=self.log, probe=wanted, on_output=self._watch(ProgressReader())
        )
        if (evidence := self._judge(found.finished, limit, SYNC_BAUD)) is not None:
            return evidence
        self.sliced = wanted is not None and found.probed == wanted.expected
        self.board = output.board(found.finished.output)
        if self.board is None:
            return Evidence("flash_failed", {"reason": "esptool did not say which chip it found"})
        self.stub_kept = True
        return self.board

    def write(self) -> Evidence | None:
        """Write what differs; None when the whole plan is on the chip.

        Where the kept stub is gone (opening a port can pulse the reset line), a second call resets first.
        """
        evidence = self._write(fresh=not self.stub_kept)
        if self.stub_kept and evidence is not None and evidence.id in ("no_sync", "not_in_loader"):
            evidence = self._write(fresh=True)
        self.stub_kept = False
        self.sliced = not self.plan.erase_all  # a second call goes on where this one ended
        return evidence

    def _write(self, *, fresh: bool) -> Evidence | None:
        limit = self.deadline.within(write_seconds(self.plan, self.baud))
        files = pieces(self.plan, sliced=self.sliced)
        reader = ProgressReader(files)
        finished = self.esptool.write(
            self.port,
            self.plan,
            files,
            chip=self.board.chip if self.board else "auto",
            baud=self.baud,
            fresh=fresh,
            deadline=limit,
            log=self.log,
            on_output=self._watch(reader),
        )
        self.written += output.written(finished.output) + reader.in_flight
        if found := output.flash_md5(finished.output):
            self.mismatches.append((reader.current, found))
        return self._judge(finished, limit, self.baud)

    def _watch(self, reader: ProgressReader) -> Callable[[bytes], None]:
        def on_output(chunk: bytes) -> None:
            for event in reader.feed(chunk):
                self.on_progress(event)

        return on_output

    def _judge(self, finished: Finished, limit: Deadline, baud: int) -> Evidence | None:
        if finished.timed_out:
            if self.deadline.expired:
                return Evidence("flash_deadline", {"limit": f"{self.deadline.seconds:.0f}"})
            return Evidence("flash_timeout", {"within": f"{limit.seconds:.0f}"})
        if finished.returncode == 0:
            return None
        failure = output.failure(finished.output, port=self.port, baud=baud)
        self.on_progress(Progress("failed", "likely {likely}; try: {todo}".format_map(failure.evidence.fields)))
        if failure.evidence.id == "port_held":
            program, pid = self.holder_of(self.port)
            return Evidence("port_held", {"port": self.port, "program": program, "pid": pid})
        if failure.row == "md5" and (reason := self._repeated()):
            return Evidence("verify_failed", {"reason": reason})
        return failure.evidence

    def _repeated(self) -> str | None:
        """What two failed verifications of the same file say together."""
        if len(self.mismatches) < 2 or self.mismatches[-1][0] != self.mismatches[-2][0]:
            return None
        same = self.mismatches[-1] == self.mismatches[-2]
        return "the same wrong content twice: the flash chip" if same else "other content each time: line or supply"
