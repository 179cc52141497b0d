"""One file of an npm package, fetched once with npm, proven by the package's digest, and kept in .cache."""

from __future__ import annotations

import base64
import fcntl
import hashlib
import shutil
import subprocess
import tarfile
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

CACHE = Path(__file__).resolve().parents[2] / ".cache"
FETCH_SECONDS = 300
RETRY_SECONDS = 600
"""How long a failed fetch is not tried again: several test processes ask one after another."""


@dataclass(frozen=True)
class Member:
    """A file of a package; `sha512` is the package's, in base64, as npm's registry and lock files write it."""

    package: str
    version: str
    sha512: str
    path: str

    @property
    def name(self) -> str:
        return f"{self.package.removeprefix('@').replace('/', '-')}-{self.version}"


class Kept(NamedTuple):
    content: bytes | None
    reason: str
    """Why there is none; "" where there is one."""


def kept(member: Member, cache: Path = CACHE, part: str = "", cut: Callable[[bytes], bytes] = bytes) -> Kept:
    """What `cut` leaves of the file, from `cache` or fetched into it; `part` names the cut, where there are several.

    Raises nothing: without it there is a reason.
    """
    try:
        cache.mkdir(exist_ok=True)
        with _alone(cache / f"{member.name}.lock"):
            return _cached(member, cache, part) or _fetch(member, cache, part, cut)
    except (OSError, ValueError, KeyError, tarfile.TarError, subprocess.SubprocessError) as error:
        return Kept(None, f"{member.package} could not be read: {error}")


@contextmanager
def _alone(lock: Path) -> Iterator[None]:
    with lock.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _cached(member: Member, cache: Path, part: str) -> Kept | None:
    known, failed = cache / f"{member.name}{part}.json", cache / f"{member.name}.failed"
    if known.exists():
        return Kept(known.read_bytes(), "")
    if failed.exists() and time.time() - failed.stat().st_mtime < RETRY_SECONDS:
        return Kept(None, failed.read_text())
    return None


def _fetch(member: Member, cache: Path, part: str, cut: Callable[[bytes], bytes]) -> Kept:
    with tempfile.TemporaryDirectory(dir=cache, prefix=f"{member.name}-") as folder:
        if reason := _pack(member, Path(folder), cache / "npm"):
            (cache / f"{member.name}.failed").write_text(reason)
            return Kept(None, reason)
        content = cut(_content(member, next(Path(folder).glob("*.tgz"))))
        whole = Path(folder) / "whole"
        whole.write_bytes(content)
        whole.replace(cache / f"{member.name}{part}.json")
    return Kept(content, "")


def _pack(member: Member, folder: Path, npm_cache: Path) -> str:
    """Have npm put the package into a folder; why it could not, or ""."""
    npm = shutil.which("npm")
    if npm is None:
        return f"npm is not installed, which fetches {member.package}"
    quick = ("--fetch-retries=0", "--fetch-timeout=60000", "--no-update-notifier", "--ignore-scripts")
    argv = [npm, "pack", f"{member.package}@{member.version}", *quick, f"--cache={npm_cache}"]
    done = subprocess.run(argv, cwd=folder, capture_output=True, text=True, timeout=FETCH_SECONDS, check=False)
    if done.returncode == 0:
        return ""
    said = (done.stderr.strip().splitlines() or ["nothing"])[0]
    return f"npm could not fetch {member.package}@{member.version}: {said}"


def _content(member: Member, archive: Path) -> bytes:
    """Raises ValueError for a package that is not the one that was meant."""
    found = base64.b64encode(hashlib.sha512(archive.read_bytes()).digest()).decode()
    if found != member.sha512:
        raise ValueError(f"version {member.version} has the SHA-512 {found}, not {member.sha512}")
    with tarfile.open(archive) as package:
        file = package.extractfile(member.path)
        if file is None:
            raise ValueError(f"{member.path} is no file")
        return file.read()
