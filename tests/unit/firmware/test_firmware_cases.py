"""Each file in tests/data/firmware is a build: what it becomes, or why it is refused."""

from __future__ import annotations

import hashlib
import re
from pathlib import Path
from typing import Any

import pytest
import tiny_firmware
import yaml

from hut_ci import errors
from hut_ci.firmware import describe, load
from hut_ci.model import FlashPlan, FlashSettings

CASES = Path(__file__).parents[2] / "data" / "firmware"


def case_files(kind: str) -> list[Any]:
    return [pytest.param(path, id=path.stem) for path in sorted((CASES / kind).glob("*.yml"))]


def plan_of(path: Path, tmp_path: Path) -> tuple[dict[str, Any], FlashPlan | errors.HutCiError]:
    case = yaml.safe_load(path.read_text())
    folder = tmp_path / "artifact"
    folder.mkdir()
    files: dict[str, bytes] = {}
    if "standard" in case:
        files = {f"{case['standard']}/{name}": data for name, data in tiny_firmware.standard().items()}
    for name, spec in (case.get("files") or {}).items():
        if spec is not None:
            files[name] = tiny_firmware.content(spec)
        else:
            del files[name if name in files else f"./{name}"]
    tiny_firmware.write(folder, files)
    settings = dict(case.get("settings") or {})
    settings["erase"] = tuple(settings.get("erase", ("keep",)))
    try:
        plan = load(folder / case.get("load", "."), tmp_path / "work", FlashSettings(**settings), chip=case.get("chip"))
    except errors.HutCiError as error:
        return case, error
    return case, plan


@pytest.mark.parametrize("path", case_files("valid"))
def test_plan(path: Path, tmp_path: Path) -> None:
    case, plan = plan_of(path, tmp_path)
    assert isinstance(plan, FlashPlan), f"{plan} ({getattr(plan, 'why', '')})"
    facts = describe(plan)
    wanted = dict(case["plan"])
    for part, expected in zip(facts["parts"], wanted.pop("parts", []), strict=False):
        assert {key: part[key] for key in expected} == expected
    assert {key: facts[key] for key in wanted} == wanted
    if "places" in case:
        assert {part.offset: part.purpose for part in plan.parts} == case["places"]
    for part in plan.parts:
        content = part.path.read_bytes()
        assert (len(content), hashlib.sha256(content).hexdigest()) == (part.size, part.sha256)


@pytest.mark.parametrize("path", case_files("invalid"))
def test_refusal(path: Path, tmp_path: Path) -> None:
    """security 10, and: each refusal says what, why and what to do."""
    case, error = plan_of(path, tmp_path)
    assert isinstance(error, errors.HutCiError), f"was accepted: {error}"
    assert type(error).__name__ == case["error"]
    assert re.search(case["what"], error.what), error.what
    assert re.search(re.escape(case.get("todo", "")), error.todo), error.todo
    assert error.why
    assert error.todo
    assert error.what.isprintable()
