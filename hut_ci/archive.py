"""The one safe reader of archives: zip, and tar.gz. What looks hostile is refused, nothing is sanitised (security 9).

Every name, type and size is checked before the first byte is written. Files get mode 0600 in a fresh 0700 folder.
"""

from __future__ import annotations

import gzip
import io
import os
import re
import stat
import struct
import tarfile
import unicodedata
import zipfile
import zlib
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO

from hut_ci.errors import ArtifactError, HostileArchive

ZIP_MAGICS = (b"PK\x03\x04", b"PK\x05\x06")  # the second starts an empty archive
GZIP_MAGIC = b"\x1f\x8b"
CHUNK = 1 << 16
MAX_PATH = 1024
DEFLATE = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)
DRIVE = re.compile(r"[A-Za-z]:")


@dataclass(frozen=True, slots=True)
class Limits:
    """`files` entries, `total` unpacked bytes; beyond `ratio_from` bytes, `ratio` times the packed size.

    A 32 MB flash image that is nearly blank shrinks a thousandfold, so small archives are not judged by ratio.
    """

    files: int = 5000
    total: int = 512 << 20
    ratio: int = 100
    ratio_from: int = 64 << 20


DEFAULTS = Limits()


@dataclass(slots=True)
class _Ledger:
    """What one archive, with the one nested in it, has used up of its limits."""

    limits: Limits
    packed: int
    files: int = 0
    total: int = 0
    names: dict[str, tuple[str, bool]] = field(default_factory=dict)

    def enter(self, name: str, size: int, is_folder: bool) -> str:
        """Check one entry; the clean relative path. Raises HostileArchive."""
        self.files += 1
        self.total += size
        if self.files > self.limits.files:
            raise _hostile(f"it has more than {self.limits.files} entries")
        if self.total > self.limits.total:
            raise _hostile(f"it unpacks to more than {self.limits.total} bytes")
        if self.total > self.limits.ratio_from and self.total > self.packed * self.limits.ratio:
            raise _hostile(f"{self.packed} bytes unpack to more than {self.limits.ratio} times as much")
        path = _clean(name)
        if path:
            self._once(path, is_folder)
        return path

    def _once(self, path: str, is_folder: bool) -> None:
        """Refuse a second entry of one name, names equal but for case, and a file that is also a folder."""
        steps = path.split("/")
        for depth in range(1, len(steps) + 1):
            current, last = "/".join(steps[:depth]), depth == len(steps)
            folder = is_folder or not last
            key = unicodedata.normalize("NFC", current).casefold()
            before = self.names.setdefault(key, (current, folder))
            if before[0] != current:
                raise _hostile(f"{_shown(current)} and {_shown(before[0])} differ only in case")
            if before[1] != folder:
                raise _hostile(f"{_shown(current)} is a file and a folder")
            if last and not is_folder:
                self.names[key] = (current, False)
        if not is_folder:
            if f"\0{path}" in self.names:
                raise _hostile(f"{_shown(path)} is in it twice")
            self.names[f"\0{path}"] = (path, False)


def is_archive(path: Path) -> bool:
    with path.open("rb") as stream:
        head = stream.read(4)
    return head in ZIP_MAGICS or head.startswith(GZIP_MAGIC)


def extract(archive: Path, into: Path, *, limits: Limits = DEFAULTS) -> Path:
    """Unpack into `into`, which must not exist or be empty; the folder that holds the content.

    One nested zip is opened as well: alone, it is the content; beside other files it becomes a folder under its own
    name without `.zip`. Raises HostileArchive for anything suspicious, ArtifactError for a broken archive.
    """
    _fresh(into)
    with _readable(archive):
        ledger = _Ledger(limits, archive.stat().st_size)
        _unpack(archive, into, ledger)
        nested = [path for path in sorted(into.rglob("*")) if _is_zip(path)]
        if len(nested) != 1:
            return into
        return _open_nested(nested[0], into, ledger)


def _open_nested(inner: Path, outer: Path, ledger: _Ledger) -> Path:
    folder = inner.with_suffix("") if inner.suffix.lower() == ".zip" else inner.with_name(f"{inner.name}.unpacked")
    if folder.exists():
        folder = inner.with_name(f"{inner.name}.unpacked")
    alone = sum(path.is_file() for path in outer.rglob("*")) == 1
    _fresh(folder)
    _unpack(inner, folder, _Ledger(ledger.limits, ledger.packed, ledger.files, ledger.total))
    deeper = next((path for path in sorted(folder.rglob("*")) if _is_zip(path)), None)
    if deeper is not None:
        raise _hostile(f"{_shown(deeper.name)} is nested more than one level deep")
    inner.unlink()
    return folder if alone else outer


def _unpack(archive: Path, into: Path, ledger: _Ledger) -> None:
    with archive.open("rb") as stream:
        head = stream.read(4)
        stream.seek(0)
        if head in ZIP_MAGICS:
            _unzip(stream, into, ledger)
        elif head.startswith(GZIP_MAGIC):
            _untar(stream, into, ledger)
        else:
            raise ArtifactError(
                f"{archive.name} is no archive that can be read here: it starts with {head.hex() or 'nothing'}",
                why="The download was cut, or is an error page.",
                todo="Use zip or tar.gz; download it again.",
            )


def _is_zip(path: Path) -> bool:
    if not path.is_file() or path.suffix.lower() != ".zip":
        return False
    with path.open("rb") as stream:
        return stream.read(4) in ZIP_MAGICS


# --- zip -------------------------------------------------------------------------------------------------


def _unzip(stream: BinaryIO, into: Path, ledger: _Ledger) -> None:
    directory = _directory_size(stream)
    if directory > ledger.limits.files * (MAX_PATH + 256):
        raise _hostile(f"its directory has {directory} bytes, too many for {ledger.limits.files} entries")
    with zipfile.ZipFile(stream) as opened:
        entries = [(info, _zip_entry(info, ledger)) for info in opened.infolist()]
        for info, path in entries:
            if info.is_dir():
                _folder(into, path)
            else:
                with opened.open(info) as source:
                    _write(into, path, iter(lambda source=source: source.read(CHUNK), b""), info.file_size)  # type: ignore[misc]


def _zip_entry(info: zipfile.ZipInfo, ledger: _Ledger) -> str:
    name = info.orig_filename  # `filename` is cut at a NUL
    kind = stat.S_IFMT(info.external_attr >> 16)  # 0 where the archive was not made on a Unix
    if kind not in (0, stat.S_IFREG, stat.S_IFDIR):
        raise _hostile(f"{_shown(name)} is a {_kind(kind)}")
    if info.flag_bits & 1:
        raise ArtifactError(
            f"{_shown(name)} in the archive is encrypted",
            why="It was packed with a password.",
            todo="Upload it without one.",
        )
    if info.compress_type not in DEFLATE:
        raise ArtifactError(
            f"{_shown(name)} is packed with method {info.compress_type}",
            why="Only stored and deflated entries are read.",
            todo="Pack it with deflate, as zip does.",
        )
    if info.is_dir() and info.file_size:
        raise _hostile(f"the folder {_shown(name)} has content")
    return ledger.enter(name, info.file_size, info.is_dir())


def _directory_size(stream: BinaryIO) -> int:
    """Bytes of the central directory, read before zipfile builds an object for each of its entries."""
    size = stream.seek(0, os.SEEK_END)
    stream.seek(max(0, size - 65557))  # end record (22 bytes) and its longest comment
    tail = stream.read()
    stream.seek(0)
    at = tail.rfind(b"PK\x05\x06")
    if at < 0 or at + 22 > len(tail):
        raise zipfile.BadZipFile("it has no directory at its end")
    if tail[max(0, at - 20) : at].startswith(b"PK\x06\x07"):  # zip64: the real record lies before this locator
        real = tail.rfind(b"PK\x06\x06", 0, at)
        return int(struct.unpack_from("<Q", tail, real + 40)[0]) if real >= 0 else size
    return int(struct.unpack_from("<I", tail, at + 12)[0])


# --- tar -------------------------------------------------------------------------------------------------


def _untar(stream: BinaryIO, into: Path, ledger: _Ledger) -> None:
    """Two passes over the stream: check every entry, then write; a bounded reader stops a gzip bomb in both."""
    with _tar(stream, ledger.limits) as checked:
        for member in checked:
            if not (member.isreg() or member.isdir()):
                raise _hostile(f"{_shown(member.name)} is a {_tar_kind(member)}")
            ledger.enter(member.name, member.size if member.isreg() else 0, member.isdir())
    stream.seek(0)
    with _tar(stream, ledger.limits) as opened:
        for member in opened:
            path = _clean(member.name)
            source = opened.extractfile(member) if member.isreg() else None
            if source is None:
                _folder(into, path)
            else:
                _write(into, path, iter(lambda source=source: source.read(CHUNK), b""), member.size)  # type: ignore[misc]


@contextmanager
def _tar(stream: BinaryIO, limits: Limits) -> Iterator[tarfile.TarFile]:
    slack = limits.files * 2048 + (1 << 20)  # headers and padding
    with (
        gzip.GzipFile(fileobj=stream) as plain,
        tarfile.open(fileobj=_Bounded(plain, limits.total + slack), mode="r|") as opened,
    ):
        yield opened


class _Bounded(io.RawIOBase):
    """A reader that refuses to hand out more than `limit` bytes."""

    def __init__(self, source: gzip.GzipFile, limit: int) -> None:
        self._source = source
        self._left = limit

    def read(self, size: int = -1) -> bytes:
        data = self._source.read(min(size, self._left + 1) if size >= 0 else self._left + 1)
        self._left -= len(data)
        if self._left < 0:
            raise _hostile("it unpacks to more than is allowed")
        return data


def _tar_kind(member: tarfile.TarInfo) -> str:
    if member.issym() or member.islnk():
        return "link"
    return "device" if member.isdev() else "special entry"


# --- both ------------------------------------------------------------------------------------------------


def _clean(name: str) -> str:
    """A relative path without `.`; empty for the archive's own root. Raises HostileArchive."""
    if len(name) > MAX_PATH or any(len(step.encode("utf-8", "replace")) > 255 for step in name.split("/")):
        raise _hostile(f"the name {_shown(name)} is too long")
    if not name or not name.isprintable() or "\ufffd" in name:
        raise _hostile(f"the name {_shown(name)} has unprintable characters")
    if "\\" in name:
        raise _hostile(f"{_shown(name)} has a backslash in its name")
    if name.startswith("/") or DRIVE.match(name):
        raise _hostile(f"{_shown(name)} is an absolute path")
    steps = [step for step in name.split("/") if step not in ("", ".")]
    if ".." in steps:
        raise _hostile(f"{_shown(name)} leads out of the archive")
    return "/".join(steps)


def _folder(into: Path, path: str) -> None:
    (into / path).mkdir(mode=0o700, parents=True, exist_ok=True)


def _write(into: Path, path: str, chunks: Iterable[bytes], size: int) -> None:
    """Never more than the `size` that was declared and counted against the limits."""
    target = into / path
    target.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    descriptor = os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
    with os.fdopen(descriptor, "wb") as out:
        for chunk in chunks:
            size -= len(chunk)
            if size < 0:
                raise _hostile(f"{_shown(path)} is larger than it says")
            out.write(chunk)
    if size:
        raise ArtifactError(
            f"{_shown(path)} is cut short: {size} bytes are missing",
            why="The archive is damaged.",
            todo="Download it again.",
        )


def _fresh(folder: Path) -> None:
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    if any(folder.iterdir()):
        raise ArtifactError(
            f"{folder} is not empty", why="An archive is only unpacked into a fresh folder.", todo="Empty it first."
        )


@contextmanager
def _readable(archive: Path) -> Iterator[None]:
    """Whatever the libraries raise on damaged input, as one error."""
    try:
        yield
    except (
        *(zipfile.BadZipFile, zipfile.LargeZipFile, tarfile.TarError, zlib.error, struct.error),
        *(EOFError, OSError, RuntimeError, ValueError, OverflowError, MemoryError),
    ) as error:
        raise ArtifactError(
            f"{archive.name} cannot be unpacked: {_shown(str(error)) or type(error).__name__}",
            why="The archive is cut or damaged.",
            todo="Download it again; if that does not help, build again.",
        ) from error


def _kind(mode: int) -> str:
    if mode == stat.S_IFLNK:
        return "symbolic link"
    return "device" if mode in (stat.S_IFBLK, stat.S_IFCHR) else "special file"


def _shown(name: str) -> str:
    return "".join(char if char.isprintable() else "?" for char in name[:120])


def _hostile(what: str) -> HostileArchive:
    return HostileArchive(
        f"the archive is refused: {what}",
        why="No build tool packs such an archive; it can harm the host that unpacks it.",
        todo="Look at what the build job uploads. Only plain files under relative names are taken.",
    )
