"""Builds by commit in a folder: exactly one, or a clear error."""

import hashlib
import zipfile
from pathlib import Path

import pytest

from hut_ci.errors import ArtifactError
from hut_ci.forges.local import LocalForge

SHA = "0123456789abcdef0123456789abcdef01234567"


@pytest.fixture
def commit(tmp_path: Path) -> Path:
    folder = tmp_path / "artifacts" / SHA
    folder.mkdir(parents=True)
    return folder


def zipped(path: Path) -> None:
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("app.bin", b"x")


def find(commit: Path, variant: str | None = None):
    return LocalForge(commit.parents[1]).find_artifact(SHA, variant)


def test_zip(commit: Path) -> None:
    zipped(commit / "fw-4m.zip")
    found = find(commit)
    assert (found.source, found.name, found.forge, found.commit_sha) == ("upstream_artifact", "fw-4m", "local", SHA)
    assert found.path == commit / "fw-4m.zip"
    assert found.digest == "sha256:" + hashlib.sha256(found.path.read_bytes()).hexdigest()


def test_folder_and_its_digest(commit: Path) -> None:
    """The digest is that of names and content, not of order or times."""
    (commit / "fw" / "deep").mkdir(parents=True)
    (commit / "fw" / "deep" / "b.bin").write_bytes(b"b")
    (commit / "fw" / "a.bin").write_bytes(b"a")
    first = find(commit).digest
    (commit / "fw" / "a.bin").touch()
    assert find(commit).digest == first
    (commit / "fw" / "a.bin").write_bytes(b"A")
    assert find(commit).digest != first


@pytest.mark.parametrize(
    ("variant", "name"),
    [("4m", "fw-4m"), ("8m", "fw-8m-debug"), ("fw-4m", "fw-4m"), ("debug", "fw-8m-debug")],
)
def test_variant(commit: Path, variant: str, name: str) -> None:
    zipped(commit / "fw-4m.zip")
    (commit / "fw-8m-debug").mkdir()
    assert find(commit, variant).name == name


def test_exact_name_wins(commit: Path) -> None:
    zipped(commit / "fw.zip")
    zipped(commit / "fw-debug.zip")
    assert find(commit, "fw").name == "fw"


@pytest.mark.parametrize(
    ("names", "variant", "words"),
    [
        ([], None, ["no build for commit 0123456789ab"]),
        (["fw-4m.zip"], "8m", ["no build of variant 8m", "there are: fw-4m.zip"]),
        (["a.zip", "b.zip"], None, ["2 builds fit", "a.zip, b.zip"]),
        (["fw.zip", "fw"], "fw", ["2 builds of variant fw fit", "fw, fw.zip"]),
        (["fw-4m-x.zip", "fw-4m-y.zip", "z.zip"], "4m", ["2 builds", "fw-4m-x.zip, fw-4m-y.zip"]),
        ([".part.zip", "notes.txt"], None, ["no build for commit"]),
        (["fw-4mb.zip"], "4m", ["no build of variant 4m"]),
        (["x\x1b[2J::error::.zip", "y.zip"], None, ["2 builds fit"]),
    ],
)
def test_refusals(commit: Path, names: list[str], variant: str | None, words: list[str]) -> None:
    """Design decision 8: none and several are errors that list what is there."""
    for name in names:
        if "." in name:
            zipped(commit / name)
        else:
            (commit / name).mkdir()
    with pytest.raises(ArtifactError) as caught:
        find(commit, variant)
    assert all(word in caught.value.what for word in words)
    assert "\x1b" not in caught.value.what
    assert (caught.value.evidence, caught.value.exit_code) == ("no_artifact", 3)
    assert caught.value.todo


def test_unknown_commit(tmp_path: Path) -> None:
    with pytest.raises(ArtifactError, match="no build"):
        LocalForge(tmp_path).find_artifact(SHA, "4m")


def test_links_are_no_builds(commit: Path, tmp_path: Path) -> None:
    zipped(tmp_path / "elsewhere.zip")
    (commit / "fw.zip").symlink_to(tmp_path / "elsewhere.zip")
    with pytest.raises(ArtifactError):
        find(commit)
