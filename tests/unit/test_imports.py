"""Imports go one way (design: "The path is the program"); start-up stays light (decision 13)."""

from __future__ import annotations

import ast
import subprocess
import sys
from functools import cache
from pathlib import Path

import pytest

import hut_ci

ROOT = Path(hut_ci.__file__).parent
# Each room may import rooms that stand further down in this list, and itself.
FLOORS: list[set[str]] = [
    {"__main__"},
    {"cli"},
    {"run", "attempt", "learn", "doctor", "watch"},
    {"forges", "claims", "power", "virtual"},
    {"record", "cancellation"},
    {"stages"},
    {
        "board",
        "esptool",
        "firmware",
        "reports",
        "config",
        "contracts",
        "credentials",
        "archive",
        "artifact_cache",
        "host_fault",
        "process",
        "proc",
        "tables",
        "yaml_lines",
        "units",
    },
    {"errors", "deadline", "model", "prctl", "__init__"},
]
HEAVY = {"github", "gitlab", "esptool", "jsonschema", "requests", "serial", "rich", "re2", "yaml"}


def room(module: str) -> str:
    parts = module.split(".")
    return parts[1] if len(parts) > 1 else "__init__"


def floor(name: str) -> int:
    for level, rooms in enumerate(FLOORS):
        if name in rooms:
            return level
    raise AssertionError(f"{name} has no floor: say in FLOORS where it belongs")


@cache
def imports(file: Path) -> set[str]:
    found: set[str] = set()
    for node in ast.walk(ast.parse(file.read_text("utf-8"))):
        if isinstance(node, ast.ImportFrom) and node.module:
            found.add(node.module)
            if node.module == "hut_ci":
                found |= {f"hut_ci.{alias.name}" for alias in node.names if not alias.name.startswith("__")}
        elif isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
    return found


FILES = sorted(ROOT.rglob("*.py"))


@pytest.mark.parametrize("file", FILES, ids=lambda f: str(f.relative_to(ROOT)))
def test_arrows_point_down(file: Path) -> None:
    here = file.relative_to(ROOT).with_suffix("").parts[0]
    for module in imports(file):
        if module.startswith("hut_ci") and room(module) not in {here, "__init__"}:
            assert floor(room(module)) >= floor(here), f"{here} must not import {module}"


@pytest.mark.parametrize("file", FILES, ids=lambda f: str(f.relative_to(ROOT)))
def test_esptool_is_never_imported(file: Path) -> None:
    """esptool is GPL and runs as a program."""
    assert not {m for m in imports(file) if m.split(".")[0] == "esptool"}


@pytest.mark.parametrize("file", FILES, ids=lambda f: str(f.relative_to(ROOT)))
def test_jsonschema_stands_in_one_module(file: Path) -> None:
    if file != ROOT / "contracts.py":
        assert not {m for m in imports(file) if m.split(".")[0] == "jsonschema"}


@pytest.mark.parametrize("file", sorted((ROOT / "stages").glob("*.py")), ids=lambda f: f.name)
def test_a_stage_never_imports_a_back_end(file: Path) -> None:
    assert not {m for m in imports(file) if room(m) in {"forges", "power", "claims"} and m.startswith("hut_ci")}


def test_version_imports_nothing_heavy() -> None:
    code = (
        "import sys; from hut_ci.cli import call\n"
        "try: call(['--version'])\nexcept SystemExit: pass\n"
        "print(*sorted({m.split('.')[0] for m in sys.modules}))"
    )
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=30)
    assert "hut-ci, version" in out.stdout
    assert not HEAVY & set(out.stdout.splitlines()[-1].split())
