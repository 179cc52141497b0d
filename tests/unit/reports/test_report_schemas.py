"""The published contracts of the report: the seed's examples, our documents, and the dataclasses that mirror them."""

import copy
import dataclasses
import json
from pathlib import Path

import pytest
from report_samples import RUNS, samples

from hut_ci import contracts, model
from hut_ci.reports.json_document import OMITTED, OUTSIDE, RENAMED, problems, to_document

SEED = Path(__file__).parents[2] / "data" / "reports" / "seed"
# definition of hut.hardware.v1 → the dataclass that it mirrors
MIRRORS = {
    "evidence": model.Evidence,
    "verdict": model.Verdict,
    "artifact": model.Artifact,
    "part": model.Part,
    "partition": model.Partition,
    "app": model.AppDescriptor,
    "firmware": model.FlashPlan,
    "board": model.Board,
    "stage": model.StageRecord,
    "flash": model.FlashResult,
    "boot": model.Boot,
    "case": model.Case,
    "suite": model.SuiteResult,
    "attempt": model.Attempt,
    "recovery_event": model.RecoveryEvent,
}
# In the block for the reader's sake, taken from the last attempt.
DERIVED = {"schema_version", "cases", "boot"}


@pytest.mark.parametrize("name", ["ws2.invocation.v1", "ws2.report.v1"])
def test_seed_example_is_valid(name: str) -> None:
    """WS2-4, WS2-12: both literal examples of the seed validate, and contracts.check can say no."""
    example = json.loads((SEED / f"{name}.json").read_text())
    assert contracts.check(example, name) == []
    assert contracts.check({**example, "schema_version": "ws2.report.v2"}, name)


@pytest.mark.parametrize("key", json.loads((SEED.parent / "required.json").read_text())["ws2.report.v1"])
def test_each_required_field_of_a_report(key: str) -> None:
    """WS2-3, WS2-10."""
    example = json.loads((SEED / "ws2.report.v1.json").read_text())
    del example[key]
    assert (key,) in [problem.path for problem in contracts.check(example, "ws2.report.v1")]


@pytest.mark.parametrize("key", json.loads((SEED.parent / "required.json").read_text())["ws2.invocation.v1"])
def test_each_required_field_of_an_invocation(key: str) -> None:
    """WS2-2, WS2-5."""
    example = json.loads((SEED / "ws2.invocation.v1.json").read_text())
    del example[key]
    assert (key,) in [problem.path for problem in contracts.check(example, "ws2.invocation.v1")]


@pytest.mark.parametrize(
    ("change", "where"),
    [
        ({"target_role": "arch"}, "target_role"),
        ({"timeout_sec": 3601}, "timeout_sec"),
        ({"target_role": "runner", "timeout_sec": 14401}, "timeout_sec"),
        ({"timeout_sec": 0}, "timeout_sec"),
        ({"command": []}, "command"),
        ({"command": [["ls", "-l"]]}, "command[0]"),
        ({"request_utc": "2026-02-12T15:30:00+01:00"}, "request_utc"),
        ({"lock_key": "../../etc/passwd"}, "lock_key"),
        ({"job_id": ".."}, "job_id"),
    ],
)
def test_bad_invocation(change: dict[str, object], where: str) -> None:
    """WS2-7, WS2-8, WS2-16 and security 19: refused at the place that is wrong."""
    example = json.loads((SEED / "ws2.invocation.v1.json").read_text())
    assert where in [problem.where for problem in contracts.check({**example, **change}, "ws2.invocation.v1")]


@pytest.mark.parametrize("key", ["commit_sha", "repo", "workdir", "expected_artifacts", "notes"])
def test_what_an_invocation_may_leave_out(key: str) -> None:
    """WS2-6: and `none` is a commit."""
    example = json.loads((SEED / "ws2.invocation.v1.json").read_text())
    del example[key]
    assert contracts.check(example, "ws2.invocation.v1") == []
    assert contracts.check({**example, "commit_sha": "none"}, "ws2.invocation.v1") == []


def test_runner_may_take_longer_and_steps_may_be_argv() -> None:
    example = json.loads((SEED / "ws2.invocation.v1.json").read_text())
    change = {"target_role": "runner", "timeout_sec": 14400, "command": ["uptime", {"argv": ["ls", "-l"]}]}
    assert contracts.check({**example, **change}, "ws2.invocation.v1") == []


@pytest.mark.parametrize("name", sorted(samples()))
def test_every_way_to_end_is_valid(name: str) -> None:
    assert problems(to_document(samples()[name])) == []


@pytest.mark.parametrize(
    ("path", "value"),
    [
        (("status",), "error"),
        (("status",), "success"),
        (("exit_code",), 0),
        (("agent_role",), "firmware"),
        (("start_utc",), "2026-02-12 15:30"),
        (("artifact_paths",), ["/var/log/serial.log"]),
        (("artifact_paths",), ["../serial.log"]),
        (("artifact_paths",), ["logs/.."]),
        (("hardware", "lane"), "bench"),
        (("hardware", "commit_sha"), "0123456"),
        (("hardware", "commit_sha"), ""),
        (("hardware", "verdict", "name"), "skipped"),
        (("hardware", "verdict", "name"), "pass"),
        (("hardware", "verdict", "exit_code"), 0),
        (("hardware", "attempts"), None),
        (("hardware", "cases", 0, "outcome"), "green"),
    ],
)
def test_bad_report(path: tuple[str | int, ...], value: object) -> None:
    """A report of a failure, one value changed: the schema refuses it (security 28: it can say no)."""
    document = copy.deepcopy(json.loads((RUNS / "fail.json").read_text()))
    assert problems(document) == []
    place = document
    for step in path[:-1]:
        place = place[step]
    place[path[-1]] = value
    assert problems(document)


def test_a_run_that_did_not_end_cannot_have_passed() -> None:
    document = json.loads((RUNS / "pass.json").read_text())
    document["hardware"]["partial"] = True
    assert problems(document)


@pytest.mark.parametrize("definition", sorted(MIRRORS))
def test_definition_mirrors_dataclass(definition: str) -> None:
    """Design decision 12: each field of one exists in the other, and none is optional."""
    schema = contracts.load_schema("hut.hardware.v1")["$defs"][definition]
    kind = MIRRORS[definition]
    fields = {field.name for field in dataclasses.fields(kind) if (kind, field.name) not in OMITTED}
    assert fields == set(schema["properties"]) == set(schema["required"])


def test_every_definition_is_mirrored() -> None:
    assert set(contracts.load_schema("hut.hardware.v1")["$defs"]) == set(MIRRORS)


def test_block_mirrors_report() -> None:
    schema = contracts.load_schema("hut.hardware.v1")
    fields = {RENAMED.get(field.name, field.name) for field in dataclasses.fields(model.Report)} - set(OUTSIDE)
    assert fields | DERIVED == set(schema["properties"]) == set(schema["required"])
    assert set(OUTSIDE.values()) <= set(contracts.load_schema("ws2.report.v1")["properties"])


@pytest.mark.parametrize(
    ("place", "names"),
    [
        (("lane",), {lane.value for lane in model.Lane}),
        (("$defs", "verdict", "properties", "name"), {name.value for name in model.VerdictName}),
    ],
)
def test_enums_mirror(place: tuple[str, ...], names: set[str]) -> None:
    """LANE-1."""
    schema = contracts.load_schema("hut.hardware.v1")
    found = schema["properties"][place[0]] if len(place) == 1 else schema
    for step in place if len(place) > 1 else ():
        found = found[step]
    assert set(found["enum"]) == names
