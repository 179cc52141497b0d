"""Install hut_ci once per host, and say where it is: for every job and runner of the host the same folder.

Runs before anything is installed, so on the standard library alone. The folder is named after what goes into it (lock
files, source, Python), which is why it never changes once it is complete. Prints its progress on standard error and the
path of `hut-ci` on standard output; with $GITHUB_OUTPUT also as the output `hut-ci`.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import platform
import shutil
import stat
import subprocess
import sys
import time
import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TextIO

SOURCE = Path(__file__).resolve().parents[3]
SHARED = Path("/var/lib/hut-ci/env")
COMPLETE = ".complete"
LEAST = (3, 11)
WAIT_SECONDS = 900.0
"""For another job's installation, which takes half a minute, or some where the network is slow."""
STEP_SECONDS = 600.0
"""For one call of venv or pip, so that a job that hangs does not keep all others from the host."""
LOOK_SECONDS = 0.2


class Impossible(Exception):
    """What happened; `todo` says what to do."""

    def __init__(self, what: str, todo: str) -> None:
        super().__init__(what)
        self.todo = todo


def main() -> int:
    try:
        found = install(home_of_environments())
    except Impossible as error:
        print(f"hut-ci setup: {error}\n  do:   {error.todo}", file=sys.stderr)
        return 2
    print(found)
    if target := os.environ.get("GITHUB_OUTPUT"):
        mark = uuid.uuid4().hex
        with Path(target).open("a", encoding="utf-8") as outputs:
            outputs.write(f"hut-ci<<{mark}\n{found}\n{mark}\n")
    return 0


def home_of_environments(shared: Path = SHARED) -> Path:
    """$HUT_CI_ENV_DIR, else the host's shared folder if it has this already or may be written, else one's cache."""
    if named := os.environ.get("HUT_CI_ENV_DIR"):
        return Path(named)
    if os.access(shared, os.W_OK) or complete(shared / name_of(SOURCE)):
        return shared
    try:
        cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    except RuntimeError as error:
        raise Impossible("this user has no home", "name a folder that may be written in $HUT_CI_ENV_DIR") from error
    return cache / "hut-ci" / "env"


def install(home: Path) -> Path:
    """The path of a complete installation's `hut-ci`; one that another job is making is waited for."""
    if sys.version_info < LEAST:
        raise Impossible(f"Python {platform.python_version()} is too old", "put Python 3.11 or newer first on PATH")
    folder = home / name_of(SOURCE)
    if not complete(folder):
        try:
            home.mkdir(parents=True, exist_ok=True)
            if home.stat().st_mode & stat.S_ISGID:  # a group's folder: the next user must be able to go on
                os.umask(0o002)
            with alone(folder.with_suffix(".lock")):
                if not complete(folder):
                    build(folder)
        except OSError as error:
            raise Impossible(f"{folder}: {error}", "name a folder that may be written in $HUT_CI_ENV_DIR") from error
    return program(folder)


def name_of(source: Path) -> str:
    """A name that changes with whatever would change the installation."""
    told = hashlib.sha256(f"{sys.implementation.cache_tag} {platform.machine()}".encode())
    files = [source / "pyproject.toml", *(source / "requirements").glob("*.txt")]
    for top in ("hut_ci", "schemas"):
        files += [path for path in (source / top).rglob("*") if path.is_file() and "__pycache__" not in path.parts]
    for path in sorted(files):
        told.update(f"\0{path.relative_to(source)}\0".encode() + hashlib.sha256(path.read_bytes()).digest())
    return told.hexdigest()[:24]


def build(folder: Path) -> None:
    """Make the environment where it stays (its scripts name it), and mark it complete at the end.

    Every Python is isolated: a job's workspace, where this runs, must not shadow `venv` or `pip`.
    """
    print(f"hut-ci setup: installing into {folder} (once for this host; about half a minute)", file=sys.stderr)
    shutil.rmtree(folder, ignore_errors=True)
    run([sys.executable, "-I", "-m", "venv", str(folder)], "install Python's venv module (python3-venv on Debian)")
    pip = [str(folder / "bin" / "python"), "-I", "-m", "pip", "--disable-pip-version-check", "--quiet", "install"]
    locked, network = ["--require-hashes"], "look at pip's message above: the host needs a package index"
    run([*pip, *locked, "--only-binary", ":all:", "-r", str(SOURCE / "requirements" / "build.txt")], network)
    run([*pip, *locked, "--no-build-isolation", "-r", str(SOURCE / "requirements" / "main.txt")], network)
    copy = folder / "source"
    copy.mkdir()
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(SOURCE / name, copy)
    shutil.copytree(SOURCE / "hut_ci", copy / "hut_ci", ignore=shutil.ignore_patterns("__pycache__"))
    run([*pip, "--no-build-isolation", "--no-deps", str(copy)], "report this, with pip's message above")
    shutil.rmtree(copy)
    if not starts(folder):
        raise Impossible(
            f"{program(folder)} does not start", "look at PIP_ variables and pip's configuration of this host"
        )
    (folder / COMPLETE).touch()


def program(folder: Path) -> Path:
    return folder / "bin" / "hut-ci"


def starts(folder: Path) -> bool:
    """Whether it runs at all: pip may have been told to install elsewhere, or its Python may be gone since."""
    try:
        argv = [program(folder), "--version"]
        return subprocess.run(argv, stdout=subprocess.DEVNULL, env=environment(), check=False).returncode == 0
    except OSError:
        return False


def complete(folder: Path) -> bool:
    return (folder / COMPLETE).exists() and starts(folder)


def run(argv: Sequence[str], todo: str) -> None:
    step = f"{' '.join(argv[:6])} …"
    try:
        done = subprocess.run(argv, stdout=sys.stderr, env=environment(), check=False, timeout=STEP_SECONDS)
    except subprocess.TimeoutExpired as error:
        raise Impossible(f"this did not end within {STEP_SECONDS:.0f} s: {step}", todo) from error
    if done.returncode:
        raise Impossible(f"this failed: {step}", todo)


def environment() -> dict[str, str]:
    """Ours, without what a job may have said to Python: pip starts others that are not isolated."""
    return {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}


@contextmanager
def alone(lock: Path) -> Iterator[None]:
    """Hold the lock file; it ends with the process, whatever happens to it."""
    with lock.open("a") as file:
        if not taken(file):
            print("hut-ci setup: another job is installing; waiting for it", file=sys.stderr)
            give_up = time.monotonic() + WAIT_SECONDS
            while not taken(file):
                if time.monotonic() > give_up:
                    raise Impossible(
                        f"another job has been installing for more than {WAIT_SECONDS:.0f} s: it has {lock}",
                        f"find it with `fuser -v {lock}`; end it if it hangs, then run this job again",
                    )
                time.sleep(LOOK_SECONDS)
        yield


def taken(file: TextIO) -> bool:
    """Lock the file without waiting. Raises OSError where it cannot be locked at all."""
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


if __name__ == "__main__":
    sys.exit(main())
