"""The installed `hut-ci` as a process, as a person or a CI job starts it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

SCRIPT = Path(sys.executable).with_name("hut-ci")
PATIENCE = 90.0
"""Seconds after which a command counts as hung; none of the tests comes near."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What one command left behind. `report` is the document in `out`, None where there is none."""

    code: int
    stdout: str
    stderr: str
    out: Path

    @property
    def report(self) -> dict[str, Any] | None:
        path = self.out / "report.json"
        return json.loads(path.read_bytes()) if path.exists() else None

    @property
    def hardware(self) -> dict[str, Any]:
        """The block `hardware` of the report, which has to be there."""
        assert self.report is not None, f"no report in {self.out}\n{self}"
        block: dict[str, Any] = self.report["hardware"]
        return block

    def __str__(self) -> str:
        return f"exit {self.code}\n{self.stdout}{self.stderr}"


@dataclass(slots=True)
class HutCi:
    """Starts `hut-ci` in `folder`, with an empty home and nothing of the developer's environment."""

    folder: Path
    environ: dict[str, str] = field(default_factory=dict)
    _runs: int = 0

    def __post_init__(self) -> None:
        home = self.folder / "home"
        home.mkdir(parents=True, exist_ok=True)
        self.environ = {"PATH": os.defpath, "HOME": str(home), "LANG": "C.UTF-8", **self.environ}

    def start(self, *argv: object) -> subprocess.Popen[str]:
        """The command as a running process in a group of its own; use it as a context manager and end it."""
        return subprocess.Popen(
            [str(SCRIPT), *(str(word) for word in argv)],
            cwd=self.folder,
            env=self.environ,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )

    def next_out(self) -> Path:
        """A report folder that no run has used yet."""
        self._runs += 1
        return self.folder / f"out-{self._runs}"

    def __call__(self, *argv: object, out: Path | None = None) -> Answer:
        """Run a command to its end. `out` is where its report is looked for."""
        with self.start(*argv) as process:
            try:
                stdout, stderr = process.communicate(timeout=PATIENCE)
            finally:
                process.kill()
        return Answer(process.returncode, stdout, stderr, out or self.folder / "out")

    def run(self, *argv: object, lab: Path, slot: str | None = "hut-01", wait: float = 0.0) -> Answer:
        """`hut-ci run ARGV` on a slot of `lab`, quietly, with a report folder of its own."""
        out = self.next_out()
        where = ("--slot", slot) if slot else ()
        options = ("--lab", lab, *where, "--out", out, "--wait", wait, "--progress", "none")
        return self("run", *argv, *options, out=out)
