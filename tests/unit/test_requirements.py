"""What is installed is what was looked at: each package with its version and the digests of its files."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest

LOCKED = sorted((Path(__file__).parents[2] / "requirements").glob("*.txt"))
PINNED = re.compile(r"[A-Za-z0-9._-]+(?:\[[a-z,]+\])?==[A-Za-z0-9.!+_-]+( ; [^\\]+)?( --hash=sha256:[0-9a-f]{64})+")


def loose(text: str) -> list[str]:
    """The entries of a requirement file that are not a version with digests: options and addresses of servers, too."""
    lines = [line for line in text.replace("\\\n", " ").splitlines() if line.strip() and not line.startswith("#")]
    entries = [re.sub(r"\s+", " ", line).strip() for line in lines]
    return [entry for entry in entries if not PINNED.fullmatch(entry)]


@pytest.mark.parametrize("path", LOCKED, ids=lambda path: path.name)
def test_security_24_every_package_is_pinned_by_its_hash(path: Path) -> None:
    assert loose(path.read_text("utf-8")) == []
    assert "==" in path.read_text("utf-8")


def test_what_the_product_is_made_of() -> None:
    """CARD-7: the packages that carry it, each an ordinary dependency and locked."""
    root = Path(__file__).parents[2]
    carrying = {
        "actions-toolkit",
        "esptool",
        "jsonschema",
        "pygithub",
        "pyserial",
        "python-gitlab",
        "pyyaml",
        "requests",
    }
    asked = tomllib.loads((root / "pyproject.toml").read_text("utf-8"))["project"]["dependencies"]
    assert {re.split(r"[<>=]", need)[0].lower() for need in asked} >= carrying
    locked = re.findall(r"^([\w.-]+)", (root / "requirements" / "main.txt").read_text("utf-8"), re.M)
    assert {name.lower() for name in locked} >= carrying
    assert "pytest==" in (root / "requirements" / "test.txt").read_text("utf-8")


def test_security_28_what_is_not_pinned_is_found() -> None:
    digest = f"--hash=sha256:{'5e' * 32}"
    good = f"one==1.0 ; python_version < '3.12' \\\n    {digest} \\\n    {digest}\ntwo[extra]==2.0 {digest}\n"
    bad = [
        "three==3.0",
        f"four>=4.0 {digest}",
        "five @ https://example.org/five.whl",
        "--index-url https://example.org",
    ]
    assert loose(good) == []
    assert loose("\n".join([good, *bad])) == bad
