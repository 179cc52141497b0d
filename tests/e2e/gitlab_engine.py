"""gitlab-ci-local, a real engine for .gitlab-ci.yml files, fetched once with npm; and pipelines that it runs.

It runs jobs as shell scripts, obeys `include: component`, inputs, needs, rules, artifacts and dynamic child pipelines.
It ignores tags, resource groups, time limits, environments and the patterns of inputs: those are asserted on the YAML.
A child pipeline that fails does not fail its parent here, `strategy: depend` or not.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[2]
PACKAGE = "gitlab-ci-local@4.65.1"
"""The last one for Node 20."""
FOLDER = ROOT / ".cache" / PACKAGE.replace("@", "-")
ENTRY = FOLDER / "node_modules" / "gitlab-ci-local" / "src" / "index.js"
RETRY_SECONDS = 600
PATIENCE = 300.0
TOOLS = ("node", "npm", "rsync", "git")
SCRIPTS = Path(sys.executable).parent
"""Where the installed `hut-ci` is: on the PATH of the jobs, like on a lab host."""


def engine() -> Path:
    """The engine's entry; skips the test, saying why, where it cannot be had."""
    if missing := [tool for tool in TOOLS if shutil.which(tool) is None]:
        pytest.skip(f"gitlab-ci-local needs {', '.join(missing)}, which this machine does not have")
    FOLDER.mkdir(parents=True, exist_ok=True)
    with (FOLDER / ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        reason = "" if ENTRY.exists() else _fetch()
    if reason:
        pytest.skip(reason)
    return ENTRY


def _fetch() -> str:
    failed = FOLDER / ".failed"
    if failed.exists() and time.time() - failed.stat().st_mtime < RETRY_SECONDS:
        return failed.read_text()
    argv = ["npm", "install", "--no-audit", "--no-fund", "--ignore-scripts", "--fetch-retries=0", PACKAGE]
    argv += [f"--prefix={FOLDER}", f"--cache={ROOT / '.cache' / 'npm'}"]
    done = subprocess.run(argv, cwd=FOLDER, capture_output=True, text=True, timeout=300, check=False)
    if done.returncode == 0:
        return ""
    reason = f"npm could not fetch {PACKAGE}: {(done.stderr.strip().splitlines() or ['nothing'])[0]}"
    failed.write_text(reason)
    return reason


@dataclass(frozen=True, slots=True)
class Ran:
    code: int
    output: str

    def __str__(self) -> str:
        return f"exit {self.code}\n{self.output}"


@dataclass(slots=True)
class Pipelines:
    """A project's folder as a git repository; `variables` are those that GitLab would give its jobs."""

    folder: Path
    project: str = "acme/firmware"
    variables: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        self.git("init", "-q", "-b", "main")
        self.git("remote", "add", "origin", f"git@gitlab.example:{self.project}.git")

    def git(self, *words: str) -> str:
        who = ["-c", "user.name=a", "-c", "user.email=a@example.com", "-c", "commit.gpgsign=false"]
        argv = ["/usr/bin/env", "git", *who, *words]
        done = subprocess.run(argv, cwd=self.folder, check=True, capture_output=True, text=True, env=self._environ())
        return done.stdout.strip()

    @property
    def head(self) -> str:
        """The commit that the components are included at."""
        return self.git("rev-parse", "HEAD")

    def commit(self, files: dict[str, str]) -> None:
        """Put `files` and the project's components into the repository and commit them."""
        shutil.copytree(ROOT / "templates", self.folder / "templates", dirs_exist_ok=True)
        for name, text in files.items():
            (self.folder / name).write_text(text)
        self.git("add", "-A")
        self.git("commit", "-q", "-m", "files")

    def uses(self, component: str, **inputs: object) -> None:
        """A .gitlab-ci.yml that includes one of the project's own components."""
        given = {name.replace("_", "-"): value for name, value in inputs.items()}
        include = {"local": f"/templates/{component}.yml", "inputs": given}
        self.commit({".gitlab-ci.yml": yaml.safe_dump({"stages": ["build", "test"], "include": [include]})})

    def program(self, name: str, line: str) -> None:
        """A program on the PATH of the jobs: one line of shell."""
        place = self.folder.parent / "bin" / name
        place.parent.mkdir(exist_ok=True)
        place.write_text(f"#!/bin/sh\n{line}\n")
        place.chmod(0o755)

    def _environ(self) -> dict[str, str]:
        home = self.folder.parent / "home"
        home.mkdir(exist_ok=True)
        path = f"{self.folder.parent / 'bin'}:{SCRIPTS}:{os.environ['PATH']}"
        return {"PATH": path, "HOME": str(home), "LANG": "C.UTF-8", "NO_COLOR": "1"}

    def start(self, *words: str, source: str = "push") -> subprocess.Popen[str]:
        """The engine as a process in a group of its own."""
        given = {"CI_PIPELINE_SOURCE": source, "GITLAB_CI": "true", "CI_PROJECT_PATH": self.project, **self.variables}
        kept = {name: {"type": "variable", "values": {"*": value}} for name, value in self.variables.items()}
        # For child pipelines, which the engine gives nothing of its command line.
        (self.folder / ".gitlab-ci-local-variables.yml").write_text(yaml.safe_dump(kept))
        argv = ["node", str(engine()), "--force-shell-executor", "--no-color", "--quiet=false"]
        for name, value in given.items():
            argv += ["--variable", f"{name}={value}"]
        return subprocess.Popen(
            [*argv, *words],
            cwd=self.folder,
            env=self._environ(),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )

    def run(self, *words: str, source: str = "push") -> Ran:
        """A whole pipeline, or with words the jobs that they name."""
        with self.start(*words, source=source) as process:
            try:
                output, _ = process.communicate(timeout=PATIENCE)
            finally:
                process.kill()
        return Ran(process.returncode, output)
