"""GitHub runners of this host: each has to ask `hut-ci runner-hook` first (security: a pull request may edit its
workflow), and each slot needs a runner of its own.

What lies in a runner's folder: actions/runner, `.runner` (JSON with a byte-order mark: agentName, gitHubUrl) and
`.env` (NAME=VALUE lines that it takes into its environment). Labels are kept by GitHub alone.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from hut_ci.doctor.finding import Finding, missing, ok, warn
from hut_ci.model import Lab

HOOK = "ACTIONS_RUNNER_HOOK_JOB_STARTED"
USUAL = ("home/*/*", "home/*/*/*", "opt/*", "opt/*/*", "srv/*", "srv/*/*", "var/lib/*", "var/lib/*/*", "root/*")
REMEDY = f"copy examples/runner/job-started.sh to /etc/hut-ci, name it as {HOOK} in .env, restart the runner"
FILE_LIMIT = 1 << 16


@dataclass(frozen=True, slots=True)
class Runner:
    """`hook` is what its .env names, empty for none; `owner` the user id that its jobs run as."""

    folder: Path
    name: str
    url: str
    hook: str
    owner: int


def runners(lab: Lab | None, named: Sequence[Path], root: Path = Path("/")) -> list[Finding]:
    """Of the folders `named`, and of those that lie in the usual places under `root`."""
    strays = [folder for folder in named if not (folder / ".runner").is_file()]
    folders = [*(folder for folder in named if folder not in strays), *_usual(root)]
    found = [read_runner(folder) for folder in dict.fromkeys(folder.resolve() for folder in folders)]
    return [
        *(missing(f"{folder} holds no runner that was set up", "name the folder with `.runner`") for folder in strays),
        *(finding for runner in found for finding in _hooked(runner, lab)),
        *(_each_slot(found, lab) if found and lab else ()),
    ] or [ok("no runner of GitHub in the usual places (--runner DIR names another)")]


def read_runner(folder: Path) -> Runner:
    """What the two files say; what cannot be read counts as not there."""
    try:
        settings = json.loads(_text(folder / ".runner"))
    except ValueError:
        settings = {}
    told = {key: str(settings.get(key, "")) for key in ("agentName", "gitHubUrl")} if isinstance(settings, dict) else {}
    # As the runner reads it (Runner.Listener, Program.cs): nothing is trimmed, the last line of a name counts.
    lines = (line.partition("=") for line in re.split(r"\r\n|\r|\n", _text(folder / ".env")))
    environment = {name: value for name, _, value in lines}
    name, url = told.get("agentName") or folder.name, told.get("gitHubUrl", "")
    return Runner(folder, name, url, environment.get(HOOK, ""), folder.stat().st_uid)


def hook_fault(hook: Path, owner: int) -> str | None:
    """Why the script `hook` does not protect a host whose jobs run as the user `owner`; None: it does."""
    if not hook.is_absolute() or hook.suffix != ".sh":
        return "is not the full path of a .sh file, which the runner asks for"
    try:
        hook.stat()
    except OSError as error:
        return f"cannot be read: {error.strerror}"
    if "runner-hook" not in _text(hook):
        return "does not call `hut-ci runner-hook`"
    return "may be changed by the jobs that it judges" if _changeable(hook, owner) else None


def _hooked(runner: Runner, lab: Lab | None) -> Iterator[Finding]:
    whose = f"runner {runner.name}" + (f" of {runner.url}" if runner.url else "")
    if not runner.hook:
        yield warn(f"{whose} begins every job that it is given, a stranger's too", REMEDY)
    elif fault := hook_fault(Path(runner.hook), runner.owner):
        yield missing(f"{whose}: its hook {runner.hook} {fault}", REMEDY)
    else:
        yield ok(f"{whose} asks {runner.hook} before each job")
        if lab and not lab.allowed_jobs:
            yield missing(f"{whose} refuses every job: lab.yml allows none", "add `runner: {allow: …}` to lab.yml")
    if runner.owner == 0:
        yield warn(f"{whose} runs its jobs as root", "set it up again as a user of its own")
    elif lab and _changeable(lab.path, runner.owner):
        yield missing(f"the jobs of {whose} may change {lab.path}", f"chown root {lab.path} && chmod 644 {lab.path}")


def _each_slot(found: Iterable[Runner], lab: Lab) -> Iterator[Finding]:
    names = {runner.name.lower() for runner in found}
    for slot in lab.slots:
        if slot.label.lower() not in names:
            yield warn(
                f"{slot.id}: no runner here is named {slot.label}",
                "one runner for each slot, named after its label: one with two labels runs one job at a time",
            )


def _changeable(path: Path, user: int) -> bool:
    """By `user` or by everybody, in place or by another file of that name."""
    return any(_writable(found.stat(), user) for found in (path, path.parent))


def _writable(found: os.stat_result, user: int) -> bool:
    """A group that is not root's may have the user in it."""
    return found.st_uid == user or bool(found.st_mode & 0o002) or bool(found.st_mode & 0o020 and found.st_gid)


def _usual(root: Path) -> list[Path]:
    return sorted(file.parent for pattern in USUAL for file in root.glob(f"{pattern}/.runner"))


def _text(path: Path) -> str:
    try:
        with path.open("rb") as file:
            return file.read(FILE_LIMIT).decode("utf-8-sig", "replace")
    except OSError:
        return ""
