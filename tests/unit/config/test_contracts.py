"""The schemas are the documentation, and mirror the model (design decision 12)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest

from hut_ci import contracts, model
from hut_ci.config import load_lab, load_project
from hut_ci.errors import ConfigError
from hut_ci.yaml_lines import parse_document

EXAMPLES = Path(__file__).parents[3] / "examples"
OURS = ("hut.lab.v1", "hut.project.v1")
LAB, PROJECT = (contracts.load_schema(name) for name in OURS)


def objects(schema: Any, path: str = "") -> Iterator[tuple[str, dict[str, Any]]]:
    """Every mapping of property schemas in a schema, with where it stands."""
    if isinstance(schema, dict):
        for key, inner in schema.items():
            if key == "properties":
                yield path, inner
            yield from objects(inner, f"{path}/{key}")
    elif isinstance(schema, list):
        for number, inner in enumerate(schema):
            yield from objects(inner, f"{path}/{number}")


@pytest.mark.parametrize("name", contracts.schema_names())
def test_schema_is_valid_named_and_titled(name: str) -> None:
    from jsonschema import Draft202012Validator

    schema = contracts.load_schema(name)
    Draft202012Validator.check_schema(schema)
    assert schema["$schema"] == "https://json-schema.org/draft/2020-12/schema"
    assert name in schema["$id"]
    assert schema["title"]


REQUEST = {
    "schema_version": "hut.request.v1",
    "commit_sha": "5e" * 20,
    "not_after": "2026-01-01T00:00:00Z",
    "pairs": [{"slot": "hut-01"}],
}


@pytest.mark.parametrize(
    ("change", "key"),
    [
        ({}, None),
        ({"commit_sha": "5e" * 20 + "\n"}, "commit_sha"),
        ({"not_after": "2026-01-01T00:00:00Z\n"}, "not_after"),
        ({"not_after": "\u0662\u0660\u0662\u0666-01-01T00:00:00Z"}, "not_after"),
        ({"pairs": [{"slot": "hut-01\n"}]}, "pairs"),
    ],
    ids=["valid", "commit and newline", "time and newline", "other digits", "slot and newline"],
)
def test_patterns_mean_what_the_standard_says(change: dict[str, Any], key: str | None) -> None:
    """Security 19: the end is the end, and ten digits are digits, also where Python's own `$` and `\\d` see more."""
    found = contracts.check({**REQUEST, **change}, "hut.request.v1")
    assert [problem.path[0] for problem in found] == ([key] if key else [])


@pytest.mark.parametrize("name", OURS)
def test_every_property_is_described_and_closed(name: str) -> None:
    described = list(objects(contracts.load_schema(name)))
    assert described
    for path, properties in described:
        for key, schema in properties.items():
            assert schema.get("description", "").endswith("."), f"{path}/{key} needs a sentence"


def mirror(kind: Any, properties: dict[str, Any], renamed: dict[str, str], extra: set[str] = frozenset()) -> None:  # type: ignore[assignment]
    """Each field has its key and each key its field; `renamed` field → key, "" for a field that is no key."""
    keys = {renamed.get(field.name, field.name) for field in fields(kind)} - {""}
    assert keys == set(properties) - extra


def test_lab_mirrors_the_model() -> None:
    defs = LAB["$defs"]
    mirror(
        model.Lab,
        LAB["properties"],
        {"name": "lab", "path": "", "max_run_seconds": "max_run", "allowed_jobs": "runner"},
    )
    mirror(model.HomeAssistant, LAB["properties"]["home_assistant"]["properties"], {})
    mirror(model.Slot, defs["slot"]["properties"], {"id": ""}, {"allow_unstable_serial"})
    mirror(model.Facts, defs["facts"]["properties"], {})
    mirror(model.Watched, defs["watched"]["properties"], {"address": ""})
    seconds = {f"{name}_seconds": name for name in ("off", "on", "cooldown", "timeout")}
    mirror(model.PowerSettings, defs["power"]["properties"], {"backend": "", **seconds})


def test_project_mirrors_the_model() -> None:
    top, defs = PROJECT["properties"], PROJECT["$defs"]
    variant = top["variants"]["additionalProperties"]["properties"]
    suite = top["suite"]["properties"]
    mirror(model.Project, top, {"path": "", "digest": ""})
    mirror(model.Variant, variant, {"name": ""})
    mirror(model.Needs, variant["needs"]["properties"], {})
    mirror(model.ArtifactSelector, defs["artifact"]["anyOf"][1]["properties"], {})
    mirror(model.FlashSettings, top["flash"]["properties"], {})
    mirror(model.Suite, suite, {})
    mirror(model.Expect, defs["step"]["properties"], {})
    mirror(model.Forbid, suite["forbid"]["items"]["anyOf"][1]["properties"], {"evidence": ""})


def test_every_key_of_lab_reaches_the_model() -> None:
    """The file that sets everything leaves no field at its default."""
    lab = load_lab(EXAMPLES / "lab/valid/everything.yml")
    (slot,) = lab.slots
    assert lab.home_assistant is not None
    assert_set(lab, {"path"})
    assert_set(lab.home_assistant)
    assert_set(slot)
    assert_set(slot.facts)
    assert_set(slot.power, {"backend", "command"})


def test_every_key_of_project_reaches_the_model() -> None:
    project = load_project(EXAMPLES / "hut/valid/everything.yml")
    assert_set(project)
    assert_set(project.artifact)
    assert_set(project.variants[0])
    assert_set(project.variants[0].needs)
    assert_set(project.flash)
    assert_set(project.suite)
    assert_set(project.suite.expect[1])
    assert project.variants[0].artifact == model.ArtifactSelector(
        workflow=".github/workflows/build.yml", job="build", name="s3-*", path="build", events=("push",)
    )


def assert_set(value: Any, apart_from: set[str] = frozenset()) -> None:  # type: ignore[assignment]
    for field in fields(value):
        default = field.default_factory() if callable(field.default_factory) else field.default
        assert field.name in apart_from or getattr(value, field.name) != default, f"{field.name} is at its default"


def test_unknown_schema_names_the_nearest() -> None:
    with pytest.raises(ConfigError) as refused:
        contracts.load_schema("hut.lab.v2")
    assert 'did you mean "hut.lab.v1"?' in refused.value.todo


def test_problems_come_with_path_why_and_advice() -> None:
    document = parse_document(b"slots: {hut-01: {serial: [/dev/x, 3], baud: true}}", Path("lab.yml")).data
    problems = contracts.check(document, "hut.lab.v1")
    assert {problem.where for problem in problems} == {"slots.hut-01.serial[1]", "slots.hut-01.baud"}
    assert all(problem.why and problem.todo for problem in problems)


def test_values_from_outside_are_escaped_and_short() -> None:
    """Security 12: a key of a stranger's file cannot write terminal or workflow commands into a log."""
    problems = contracts.check(
        {"\x1b]0;x\x07" + "y" * 500: 1, "suite": {"require": {"elf_sha256": "\n::error::"}}}, OURS[1]
    )
    assert problems
    for problem in problems:
        assert str(problem).isprintable()
        assert len(str(problem)) < 300
