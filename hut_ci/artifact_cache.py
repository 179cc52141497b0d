"""Artifacts that were downloaded once: kept by the digest of their bytes, bounded, the least recently used go first.

Every hit is hashed again before it is used, so nothing that happened to the folder can change what is flashed. Two
runs that want one artifact at once fetch it once: the second waits for the lock of the first.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from hut_ci.deadline import Deadline
from hut_ci.errors import ArtifactError

BLOB = "sha256-"
LOOK_SECONDS = 0.2
DEFAULT_LIMIT = 2 << 30


@dataclass(frozen=True, slots=True)
class Cached:
    """A verified copy: `digest` is `sha256:…` over its bytes; `hit` says that nothing was downloaded."""

    path: Path
    digest: str
    hit: bool


@dataclass(frozen=True, slots=True)
class ArtifactCache:
    """A folder of blobs and of notes which key has which digest; `limit` bounds the bytes of all blobs."""

    folder: Path
    limit: int = DEFAULT_LIMIT

    def fetch(
        self,
        key: str,
        digest: str | None,
        into: Path,
        download: Callable[[Path], None],
        *,
        deadline: Deadline,
        on_wait: Callable[[str], None] = lambda _text: None,
    ) -> Cached:
        """The artifact `key` at `into`, from the folder or by `download`, which writes the file it is given.

        `digest` (`sha256:` and 64 hex digits) is what the bytes have to have; without one they are recorded under
        the digest that they turn out to have. Raises ArtifactError (`download_failed`) for other bytes.
        """
        try:
            self.folder.mkdir(parents=True, mode=0o700, exist_ok=True)
            lock = os.open(self._lock(key), os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
        except OSError:  # a state folder that this user may not write to costs a download, not the run
            download(into)
            return Cached(into, checked(into, digest), hit=False)
        with os.fdopen(lock, "rb"), _held(lock, deadline, on_wait):
            known = digest or self._note(key)
            if known and self._take(known, into):
                return Cached(into, known, hit=True)
            return Cached(into, self._keep(key, digest, into, download), hit=False)

    def _take(self, digest: str, into: Path) -> bool:
        blob = self._blob(digest)
        try:
            _copy(blob, into)
        except OSError:
            return False
        if _sha256(into) != digest:  # damaged or exchanged: as if it were not there
            into.unlink()
            blob.unlink(missing_ok=True)
            return False
        with suppress(OSError):
            os.utime(blob)
        return True

    def _keep(self, key: str, digest: str | None, into: Path, download: Callable[[Path], None]) -> str:
        """Download, check, and keep a copy; a full disk costs the copy, not the run."""
        download(into)
        found = checked(into, digest)
        blob = self._blob(found)
        part = self.folder / f".{blob.name}.{os.getpid()}.part"
        try:
            _copy(into, part)
            part.replace(blob)
            self._write_note(key, found)
            self._evict(blob)
        except OSError:
            part.unlink(missing_ok=True)
        return found

    def _evict(self, newest: Path) -> None:
        """Remove the least recently used blobs until the rest fits, and what killed runs left half done."""
        blobs = sorted(self.folder.glob(f"{BLOB}*"), key=lambda blob: blob.stat().st_mtime, reverse=True)
        total = 0
        for blob in [newest, *(blob for blob in blobs if blob != newest)]:
            total += blob.stat().st_size
            if total > self.limit and blob != newest:
                blob.unlink(missing_ok=True)
        for left in [*self.folder.glob(".*.part"), *self.folder.glob("*.lock"), *self.folder.glob("*.note")]:
            if time.time() - left.stat().st_mtime > 86400:
                left.unlink(missing_ok=True)

    def _note(self, key: str) -> str | None:
        with suppress(OSError, ValueError, KeyError, TypeError):
            return str(json.loads(self._named(key, ".note").read_bytes()[:1024])["digest"])
        return None

    def _write_note(self, key: str, digest: str) -> None:
        part = self._named(key, f".{os.getpid()}.part")
        part.write_text(json.dumps({"digest": digest}), "ascii")
        part.replace(self._named(key, ".note"))

    def _blob(self, digest: str) -> Path:
        return self.folder / f"{BLOB}{digest.removeprefix('sha256:')}"

    def _lock(self, key: str) -> Path:
        return self._named(key, ".lock")

    def _named(self, key: str, suffix: str) -> Path:
        return self.folder / f"{hashlib.sha256(key.encode()).hexdigest()[:32]}{suffix}"


def checked(path: Path, digest: str | None) -> str:
    """The digest of the file, which has to be `digest` if one is given. Raises ArtifactError (`download_failed`)."""
    found = _sha256(path)
    if digest is not None and found != digest:
        raise ArtifactError(
            f"the bytes that arrived are not the artifact's: {found[:23]}… instead of {digest[:23]}…",
            why="the download was altered or damaged on its way",
            todo="run the same command again; if it stays, ask the forge's operator",
            evidence="download_failed",
        )
    return found


def _sha256(path: Path) -> str:
    descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    with os.fdopen(descriptor, "rb") as file:
        return f"sha256:{hashlib.file_digest(file, 'sha256').hexdigest()}"


def _copy(source: Path, target: Path) -> None:
    """A copy and not a link: what a run unpacks may change its file, and must not change the kept one."""
    descriptor = os.open(source, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    with os.fdopen(descriptor, "rb") as reader, target.open("wb") as writer:
        shutil.copyfileobj(reader, writer, 1 << 20)


@contextmanager
def _held(lock: int, deadline: Deadline, on_wait: Callable[[str], None]) -> Iterator[None]:
    """The lock, waited for until the deadline; the kernel frees that of a killed run."""
    told = False
    while not _locked(lock):
        if deadline.expired:
            raise ArtifactError(
                "another run is still downloading the same artifact",
                why="its download is slow, or it hangs",
                todo="run the same command again",
                evidence="download_failed",
            )
        if not told:
            on_wait("another run is downloading the same artifact")
        told = True
        time.sleep(min(LOOK_SECONDS, deadline.remaining))
    yield


def _locked(lock: int) -> bool:
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
