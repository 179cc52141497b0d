"""The files of each example project load, and fit together: every variant has a board, and the lab is what it tells."""

from __future__ import annotations

import json
import re
from fnmatch import fnmatch
from pathlib import Path

import pytest
import yaml

from hut_ci import config
from hut_ci.stages.public_slots import slots_of, told
from hut_ci.stages.selection import select

EXAMPLES = Path(__file__).parents[3] / "examples"
PROJECTS = sorted(path.parent for path in EXAMPLES.glob("*/hut.yml"))
SQUEEZELITE = EXAMPLES / "squeezelite-esp32"


def slots_file(project: Path) -> Path:
    return next(path for path in (project / ".github" / "slots.json", project / "slots.json") if path.exists())


def test_the_index_names_every_folder() -> None:
    index = (EXAMPLES / "README.md").read_text("utf-8")
    assert [path.name for path in EXAMPLES.iterdir() if path.is_dir() and f"({path.name}/)" not in index] == []


@pytest.mark.parametrize("project", PROJECTS, ids=lambda path: path.name)
def test_every_variant_has_a_board(project: Path) -> None:
    wanted = config.load_project(project / "hut.yml")
    slots = slots_of(slots_file(project).read_bytes(), "slots.json")
    assert {variant.name for _, variant in select(slots, wanted, ())} == {variant.name for variant in wanted.variants}


def test_slots_json_is_what_the_lab_tells() -> None:
    lab = config.load_lab(SQUEEZELITE / "lab.yml", {})
    assert json.loads(slots_file(SQUEEZELITE).read_text("utf-8")) == told(lab)
    assert len({slot.power.entity for slot in lab.slots}) == 2


def test_the_build_uploads_what_the_resolver_looks_for() -> None:
    """Each variant of hut.yml is a leg of the matrix; its pattern finds that leg's artifact and no other."""
    build = yaml.safe_load((SQUEEZELITE / ".github" / "workflows" / "build.yml").read_text("utf-8"))["jobs"]["build"]
    upload = build["steps"][-1]["with"]
    names = {
        leg["variant"]: re.sub(r"\$\{\{ matrix\.variant \}\}", leg["variant"], upload["name"])
        for leg in build["strategy"]["matrix"]["include"]
    }
    project = config.load_project(SQUEEZELITE / "hut.yml")
    for variant in project.variants:
        pattern = f"squeezelite-esp32-{variant.name}-*"
        assert [leg for leg, name in names.items() if fnmatch(name, pattern)] == [variant.name]


def test_its_runner_begins_what_its_workflow_answers() -> None:
    text = (SQUEEZELITE / ".github" / "workflows" / "hardware.yml").read_text("utf-8")
    [allowed] = config.load_lab(SQUEEZELITE / "lab.yml", {}).allowed_jobs
    assert set(allowed.events) == set(yaml.safe_load(text)[True])
