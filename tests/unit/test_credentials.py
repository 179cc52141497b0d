"""security 18: a token file that anybody else could read is refused, whosever token it is, and an empty one is none."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from hut_ci.credentials import Source, read_token
from hut_ci.errors import ConfigError
from hut_ci.forges.address import parse_address, token_source

CANARY = "canary-2b61"
FORGES = {"github:acme/firmware": "GITHUB_TOKEN", "gitlab:acme/firmware": "GITLAB_TOKEN"}
Change = Callable[[Path], object]


BAD: dict[str, tuple[Change, str]] = {
    "the group may read it": (lambda path: path.chmod(0o640), "others may read"),
    "everybody may read it": (lambda path: path.chmod(0o604), "others may read"),
    "the group may write it": (lambda path: path.chmod(0o620), "others may read"),
    "its folder is the lab group's": (lambda path: path.parent.chmod(0o2770), "others may enter"),
    "its folder is open": (lambda path: path.parent.chmod(0o701), "others may enter"),
    "it is empty": (lambda path: path.write_text(""), "holds no"),
    "it holds blanks": (lambda path: path.write_text(" \n\n"), "holds no"),
    "it holds two lines": (lambda path: path.write_text(f"{CANARY}\n{CANARY}"), "usable"),
    "it is a link": (lambda path: path.symlink_to(path.rename(path.with_name("real"))), "cannot be opened"),
    "it is a folder": (lambda path: (path.unlink(), path.mkdir(0o700)), "not a regular file"),
    "it is gone": (lambda path: path.unlink(), "cannot be opened"),
}


@pytest.fixture(params=FORGES)
def address(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    found = tmp_path / "secrets" / "token"
    found.parent.mkdir(0o700)
    found.write_text(f"{CANARY}\n")
    found.chmod(0o600)
    return found


def source(address: str, **environ: str) -> Source:
    return token_source(parse_address(address, {}), environ)


def test_security_18_a_private_file_is_read(address: str, file: Path) -> None:
    """The control of the refusals; and a file counts more than a variable, which every child could have been given."""
    name = FORGES[address]
    environ = {f"{name}_FILE": str(file), name: "from-the-variable"}
    assert read_token(source(address, **environ), environ).reveal() == CANARY


@pytest.mark.parametrize("bad", BAD)
def test_security_18_any_other_file_is_refused(address: str, file: Path, bad: str) -> None:
    """CRED-4."""
    change, says = BAD[bad]
    change(file)
    name = FORGES[address]
    environ = {f"{name}_FILE": str(file), name: "from-the-variable"}
    with pytest.raises(ConfigError, match=says) as refused:
        read_token(source(address, **environ), environ)
    assert refused.value.todo
    assert CANARY not in f"{refused.value} {refused.value.why} {refused.value.todo}"


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a file away")
def test_security_18_a_file_of_somebody_else_is_refused(address: str, file: Path) -> None:
    os.chown(file, 65534, 65534)
    environ = {f"{FORGES[address]}_FILE": str(file)}
    with pytest.raises(ConfigError, match="another user") as refused:
        read_token(source(address, **environ), environ)
    assert f"`sudo -u {file.owner()} hut-ci" in refused.value.todo, "moving it would not help"


@pytest.mark.parametrize("text", ["", " ", "\n"])
def test_security_18_an_empty_variable_is_none(address: str, text: str) -> None:
    """CRED-8, and its control."""
    environ = {FORGES[address]: text}
    with pytest.raises(ConfigError, match="holds no"):
        read_token(source(address), environ)
    assert read_token(source(address), {FORGES[address]: CANARY}).reveal() == CANARY
