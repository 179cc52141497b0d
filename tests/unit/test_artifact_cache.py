"""Artifacts that are kept: verified at every use, fetched once, bounded."""

from __future__ import annotations

import hashlib
import os
import threading
from pathlib import Path

import pytest

from hut_ci.artifact_cache import ArtifactCache
from hut_ci.deadline import Deadline
from hut_ci.errors import ArtifactError


def digest(data: bytes) -> str:
    return f"sha256:{hashlib.sha256(data).hexdigest()}"


class Source:
    """What a forge would send, and how often it was asked."""

    def __init__(self, data: bytes) -> None:
        self.data, self.asked = data, 0

    def __call__(self, path: Path) -> None:
        self.asked += 1
        path.write_bytes(self.data)


@pytest.fixture
def cache(tmp_path: Path) -> ArtifactCache:
    return ArtifactCache(tmp_path / "cache", limit=1000)


def fetch(cache: ArtifactCache, key: str, source: Source, into: Path, wanted: str | None = None) -> bool:
    got = cache.fetch(key, wanted, into, source, deadline=Deadline(5))
    assert got.path.read_bytes() == source.data
    assert got.digest == digest(source.data)
    return got.hit


@pytest.mark.parametrize("known", [True, False], ids=["digest", "no digest"])
def test_the_second_time_nothing_is_fetched(cache: ArtifactCache, tmp_path: Path, known: bool) -> None:
    source = Source(b"firmware")
    wanted = digest(source.data) if known else None
    assert fetch(cache, "a", source, tmp_path / "1", wanted) is False
    assert fetch(cache, "a", source, tmp_path / "2", wanted) is True
    assert source.asked == 1
    assert fetch(cache, "b", source, tmp_path / "3", wanted) is known, "without a digest only the same artifact counts"


@pytest.mark.parametrize("known", [True, False], ids=["digest", "no digest"])
def test_a_damaged_copy_is_fetched_again(cache: ArtifactCache, tmp_path: Path, known: bool) -> None:
    """security 8: the digest is verified again on every hit."""
    source = Source(b"firmware")
    wanted = digest(source.data) if known else None
    fetch(cache, "a", source, tmp_path / "1", wanted)
    (blob,) = cache.folder.glob("sha256-*")
    blob.write_bytes(b"firmwarf")
    assert fetch(cache, "a", source, tmp_path / "2", wanted) is False
    assert source.asked == 2
    assert fetch(cache, "a", source, tmp_path / "3", wanted) is True


def test_a_planted_link_is_not_followed(cache: ArtifactCache, tmp_path: Path) -> None:
    source = Source(b"firmware")
    cache.folder.mkdir()
    target = tmp_path / "elsewhere"
    target.write_bytes(source.data)
    (cache.folder / f"sha256-{digest(source.data)[7:]}").symlink_to(target)
    assert fetch(cache, "a", source, tmp_path / "1", digest(source.data)) is False
    assert target.read_bytes() == source.data


def test_other_bytes_are_refused_and_not_kept(cache: ArtifactCache, tmp_path: Path) -> None:
    with pytest.raises(ArtifactError, match="are not the artifact's") as refused:
        cache.fetch("a", digest(b"right"), tmp_path / "1", Source(b"wrong"), deadline=Deadline(5))
    assert refused.value.evidence == "download_failed"
    assert list(cache.folder.glob("sha256-*")) == []


def test_the_least_recently_used_go_first(cache: ArtifactCache, tmp_path: Path) -> None:
    sources = {name: Source(name.encode() * 400) for name in ("a", "b", "c")}
    for age, name in ((300, "a"), (200, "b")):
        fetch(cache, name, sources[name], tmp_path / name)
        blob = cache.folder / f"sha256-{digest(sources[name].data)[7:]}"
        os.utime(blob, (blob.stat().st_atime, blob.stat().st_mtime - age))
    fetch(cache, "a", sources["a"], tmp_path / "a2")  # used again: now b is the oldest
    fetch(cache, "c", sources["c"], tmp_path / "c")
    kept = {path.name[7:] for path in cache.folder.glob("sha256-*")}
    assert kept == {digest(sources[name].data)[7:] for name in ("a", "c")}


def test_one_larger_than_the_limit_is_used_all_the_same(cache: ArtifactCache, tmp_path: Path) -> None:
    source = Source(bytes(5000))
    assert fetch(cache, "a", source, tmp_path / "1") is False


def test_a_folder_that_cannot_be_used_costs_a_download(tmp_path: Path) -> None:
    """WS10-2."""
    (tmp_path / "cache").write_text("a file stands there")
    source = Source(b"firmware")
    assert fetch(ArtifactCache(tmp_path / "cache"), "a", source, tmp_path / "1") is False


def test_two_at_once_fetch_once(cache: ArtifactCache, tmp_path: Path) -> None:
    """The first is held inside its download until the second stands in line."""
    source = Source(b"firmware")
    begun, told, go_on = threading.Event(), threading.Event(), threading.Event()

    def slow(path: Path) -> None:
        begun.set()
        assert go_on.wait(60)
        source(path)

    def second() -> None:
        cache.fetch("a", None, tmp_path / "2", source, deadline=Deadline(60), on_wait=lambda _text: go_on.set())
        told.set()

    first = threading.Thread(
        target=lambda: cache.fetch("a", None, tmp_path / "1", slow, deadline=Deadline(60)), daemon=True
    )
    first.start()
    assert begun.wait(60)
    waiting = threading.Thread(target=second, daemon=True)
    waiting.start()
    assert told.wait(60)
    first.join(60)
    assert source.asked == 1
    assert (tmp_path / "2").read_bytes() == source.data


def test_a_download_that_does_not_end_is_not_waited_for_without_end(cache: ArtifactCache, tmp_path: Path) -> None:
    import fcntl

    source = Source(b"firmware")
    fetch(cache, "a", source, tmp_path / "1")
    (lock,) = cache.folder.glob("*.lock")
    with lock.open("w") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        with pytest.raises(ArtifactError, match="still downloading"):
            cache.fetch("a", None, tmp_path / "2", source, deadline=Deadline(0.3))
