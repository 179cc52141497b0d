"""Every file in examples/ loads, or is refused with the words that its first line names. Adding a file adds a test."""

from __future__ import annotations

from pathlib import Path

import pytest

from hut_ci.config import load_lab, load_project
from hut_ci.errors import ConfigError

EXAMPLES = Path(__file__).parents[3] / "examples"
LOADERS = {"lab": load_lab, "hut": load_project}


def files(pattern: str) -> list[Path]:
    found = sorted(EXAMPLES.glob(pattern))
    assert found, f"no example matches {pattern}"
    return found


def name(path: Path) -> str:
    return str(path.relative_to(EXAMPLES))


@pytest.mark.parametrize("path", files("*/valid/*.yml"), ids=name)
def test_valid(path: Path) -> None:
    LOADERS[path.parts[-3]](path)


@pytest.mark.parametrize("kind", LOADERS)
def test_the_example_that_people_copy(kind: str) -> None:
    path = EXAMPLES / f"{kind}.yml"
    LOADERS[kind](path)
    written = [line for line in path.read_text().splitlines() if line and not line.startswith("#")]
    assert len(written) <= 10, "two boards, or a project, are ten lines"


@pytest.mark.parametrize("path", files("*/invalid/*.yml"), ids=name)
def test_refused(path: Path) -> None:
    """What, why and what to do; exit 2; file and line in front (WS8-5, WS9-12, security 17, security 25)."""
    first, _, _ = path.read_text().partition("\n")
    assert first.startswith("# refused: "), "say which words the refusal has to hold"
    with pytest.raises(ConfigError) as refused:
        LOADERS[path.parts[-3]](path)
    error = refused.value
    said = f"{error.what}\n{error.why}\n{error.todo}"
    for words in first.removeprefix("# refused: ").split(" | "):
        assert words in said
    assert error.what.startswith(f"{path.name}:")
    assert error.why
    assert error.todo
    assert error.exit_code == 2
    assert said.replace("\n", "").isprintable()
