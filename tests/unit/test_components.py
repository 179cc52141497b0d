"""The GitLab components: inputs are described and checked, become variables and nothing else, and are real options."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click
import pytest
import yaml
from jsonschema import Draft202012Validator

from hut_ci import __version__
from hut_ci.cli import COMMANDS, hut_ci
from hut_ci.reports.child_pipeline import INPUTS, INSTALL, child_pipeline
from hut_ci.stages.request import from_document

ROOT = Path(__file__).parents[2]
TEMPLATES = sorted((ROOT / "templates").glob("*.yml"))
EXAMPLES = sorted((ROOT / "examples").glob("gitlab-*/.gitlab-ci.yml"))
RELEASES = "https://github.com/hut-ci/hut_ci/releases/download"
FREE = {"slots"}
"""Inputs that may hold any text: a JSON document."""
SPEC = {
    "type": "object",
    "additionalProperties": False,
    "required": ["spec"],
    "properties": {
        "spec": {
            "type": "object",
            "additionalProperties": False,
            "required": ["inputs"],
            "properties": {
                "inputs": {
                    "type": "object",
                    "propertyNames": {"pattern": "^[a-z]+(-[a-z]+)*$"},
                    "additionalProperties": {
                        "type": "object",
                        "additionalProperties": False,
                        "required": ["description"],
                        "properties": {
                            "description": {"type": "string", "pattern": "^[A-Z].*\\.$", "maxLength": 160},
                            "type": {"enum": ["string", "number", "boolean", "array"]},
                            "default": {},
                            "options": {"type": "array", "minItems": 2},
                            "regex": {"type": "string", "pattern": "^\\^.*\\$$"},
                        },
                    },
                }
            },
        }
    },
}
JOB_KEYS = {
    "stage",
    "image",
    "timeout",
    "interruptible",
    "environment",
    "rules",
    "variables",
    "before_script",
    "script",
}
JOB_KEYS |= {"artifacts", "needs", "inherit", "trigger", "tags", "resource_group"}
PAIRS = {"slot": "hut-01", "variant": "i2s"}


def parts(path: Path) -> tuple[dict[str, Any], dict[str, Any]]:
    header, body = yaml.safe_load_all(path.read_text("utf-8"))
    return header, body


def inputs(path: Path) -> dict[str, dict[str, Any]]:
    found: dict[str, dict[str, Any]] = parts(path)[0]["spec"]["inputs"]
    return found


def lines(job: dict[str, Any]) -> list[str]:
    return [str(line) for key in ("before_script", "script", "after_script") for line in job.get(key, ())]


def interpolated_scripts(body: dict[str, Any]) -> list[str]:
    """Lines of a script that an input would be pasted into."""
    return [line for job in body.values() for line in lines(job) if "$[[" in line]


def variables() -> Iterator[tuple[str, str, bool]]:
    """Every HUT_CI_ variable of a component or of the child: where, which, and whether the job is a lab's."""
    asked = {
        "schema_version": "hut.request.v1",
        "commit_sha": "5e" * 20,
        "pairs": [PAIRS],
        "not_after": "2999-01-01T00:00Z",
    }
    _, child = yaml.safe_load_all(child_pipeline(from_document(asked, "request"), asked))
    bodies = {path.name: parts(path)[1] for path in TEMPLATES} | {"child": child}
    for name, body in bodies.items():
        jobs = [job for job in body.values() if isinstance(job, dict)]
        for job in [*jobs, {"variables": body.get("variables", {})}]:
            for variable in job.get("variables", {}):
                if variable.startswith("HUT_CI_"):
                    yield name, variable, "tags" in job


def options(command: click.Command) -> set[str]:
    found = {str(parameter.envvar) for parameter in command.params if parameter.envvar}
    return found.union(*(options(member) for member in getattr(command, "commands", {}).values()))


def known() -> set[str]:
    context = click.Context(hut_ci)
    found = [hut_ci.get_command(context, name) for name in hut_ci.list_commands(context)]
    return {"HUT_CI_LANE", "HUT_CI_INSTALL"}.union(*(options(command) for command in found if command))


@pytest.mark.parametrize("path", TEMPLATES, ids=lambda path: path.stem)
def test_the_header_describes_each_input(path: Path) -> None:
    assert [error.message for error in Draft202012Validator(SPEC).iter_errors(parts(path)[0])] == []


def test_a_header_without_a_description_is_found() -> None:
    assert list(Draft202012Validator(SPEC).iter_errors({"spec": {"inputs": {"stage": {"default": "test"}}}}))


@pytest.mark.parametrize("path", TEMPLATES, ids=lambda path: path.stem)
def test_each_text_is_held_to_a_pattern_that_its_default_fits(path: Path) -> None:
    for name, spec in inputs(path).items():
        if spec.get("type", "string") != "string" or name in FREE:
            continue
        assert "regex" in spec or "options" in spec, name
        if "regex" in spec and "default" in spec:
            assert re.search(spec["regex"], spec["default"]), name


@pytest.mark.parametrize("path", TEMPLATES, ids=lambda path: path.stem)
def test_no_pattern_lets_a_command_or_a_line_end_through(path: Path) -> None:
    """But for the names of statuses and jobs, which may hold what people write, short of `$` and control characters."""
    prose = {"context", "aggregate", "build-job"}
    for name, spec in inputs(path).items():
        if "regex" not in spec:
            continue
        for bad in ("$(id)", "a$(id)", "$GITLAB_TOKEN", "a\nb", "a\n", "hardware / {slot} $(id)"):
            assert not re.search(_re2(spec["regex"]), bad), (name, bad)
        if name not in prose:
            assert not re.search(_re2(spec["regex"]), "`id`"), name


@pytest.mark.parametrize("path", [path for path in TEMPLATES if path.stem != "power-cycle"], ids=lambda path: path.stem)
def test_the_hosted_jobs_install_the_release_that_the_component_belongs_to(path: Path) -> None:
    """Not a bare name, which whoever owns it in some index could fill."""
    header = next(yaml.safe_load_all(path.read_text("utf-8")))
    wheel = f"hut_ci-{__version__}-py3-none-any.whl"
    assert header["spec"]["inputs"]["install"]["default"] == f"{RELEASES}/v{__version__}/{wheel}"


def _re2(regex: str) -> str:
    """`$` at the end means the very end to GitLab's engine; to Python's also before a last line end."""
    return regex.removesuffix("$") + r"\Z"


@pytest.mark.parametrize("path", TEMPLATES, ids=lambda path: path.stem)
def test_each_input_is_used(path: Path) -> None:
    """CARD-1."""
    text = path.read_text("utf-8")
    used = set(re.findall(r"\$\[\[ inputs\.([a-z-]+) \]\]", text))
    assert used == set(inputs(path))
    assert text.count("$[[") == len(re.findall(r"\$\[\[ inputs\.[a-z-]+ \]\]", text))


@pytest.mark.parametrize("path", TEMPLATES, ids=lambda path: path.stem)
def test_security_11_no_input_reaches_a_script(path: Path) -> None:
    body = parts(path)[1]
    assert interpolated_scripts(body) == []
    said = {line for job in body.values() for line in lines(job)} - {INSTALL}
    assert all(re.fullmatch(r"hut-ci [a-z -]+", line) for line in said), said


def test_security_11_a_planted_input_in_a_script_is_found() -> None:
    assert interpolated_scripts({"job": {"before_script": ["echo $[[ inputs.word ]]"]}}) == ["echo $[[ inputs.word ]]"]


@pytest.mark.parametrize("path", TEMPLATES, ids=lambda path: path.stem)
def test_a_component_has_no_global_keyword_and_checks_nothing_out(path: Path) -> None:
    for name, job in parts(path)[1].items():
        assert "$[[ inputs." in name, f"{name}: a job's name has to be the caller's to choose"
        assert set(job) <= JOB_KEYS, name
        if "script" in job:
            assert job["variables"]["GIT_STRATEGY"] == "empty", name
            assert "timeout" in job, name


@pytest.mark.parametrize("path", TEMPLATES, ids=lambda path: path.stem)
def test_free_text_is_not_expanded(path: Path) -> None:
    """`$NAME` in an input would be replaced by that variable's value, a token's too."""
    for job in parts(path)[1].values():
        for name, value in job.get("variables", {}).items():
            if isinstance(value, str) and "$[[" in value:
                spec = inputs(path)[re.findall(r"inputs\.([a-z-]+)", value)[0]]
                assert spec.get("type") == "number" or r"\$CI_PROJECT_" in spec["regex"], name
            elif isinstance(value, dict):
                assert value["expand"] is False, name


def test_security_10_only_the_jobs_that_answer_have_the_environment() -> None:
    found = {path.stem: [name for name, job in parts(path)[1].items() if "environment" in job] for path in TEMPLATES}
    assert {stem: len(names) for stem, names in found.items()} == {
        "hil": 1,
        "power-cycle": 0,
        "sweep": 1,
        "upstream-artifact": 0,
    }


def test_the_child_is_started_without_our_variables_and_is_waited_for() -> None:
    body = parts(ROOT / "templates" / "hil.yml")[1]
    gate, child = body.values()
    assert unprotected(child) == []
    assert child["trigger"]["strategy"] == "depend"
    (included,) = child["trigger"]["include"]
    assert included["artifact"] == gate["variables"]["HUT_CI_GATE_CHILD_PIPELINE"]
    assert included["job"] == "$[[ inputs.job-prefix ]]-gate"
    assert included["inputs"] == {name: f"$[[ inputs.{name} ]]" for name in INPUTS}
    assert child["rules"] == gate["rules"]


def unprotected(trigger: dict[str, Any]) -> list[str]:
    """What lets variables into a child pipeline: those of its parent's jobs, or those that somebody gave the parent."""
    forward = trigger["trigger"].get("forward", {})
    found = [name for name in ("yaml_variables", "pipeline_variables") if forward.get(name, True)]
    return found + ([] if trigger.get("inherit") == {"variables": False} and "variables" not in trigger else ["own"])


def test_a_child_that_gets_variables_is_found() -> None:
    good = {
        "inherit": {"variables": False},
        "trigger": {"forward": {"yaml_variables": False, "pipeline_variables": False}},
    }
    assert unprotected(good) == []
    assert unprotected({**good, "trigger": {}}) == ["yaml_variables", "pipeline_variables"]
    assert unprotected({**good, "trigger": {"forward": {"yaml_variables": False, "pipeline_variables": True}}}) == [
        "pipeline_variables"
    ]
    assert unprotected({**good, "variables": {"HUT_CI_INSTALL": "evil"}}) == ["own"]
    assert unprotected({"trigger": good["trigger"]}) == ["own"]


def test_no_variable_says_what_the_job_that_answers_runs_on_or_installs() -> None:
    """A variable given to a pipeline wins over a job's; an input is pasted in before there are variables."""
    gate, _ = parts(ROOT / "templates" / "hil.yml")[1].values()
    assert gate["image"] == "$[[ inputs.image ]]"
    assert not any("CHILD_I" in name or "CHILD_E" in name for name in gate["variables"])


def test_the_sweep_runs_on_a_schedule_only_and_a_power_cycle_by_hand_on_protected_refs() -> None:
    (sweep,) = parts(ROOT / "templates" / "sweep.yml")[1].values()
    assert sweep["rules"] == [{"if": '$CI_PIPELINE_SOURCE == "schedule"'}]
    (cycle,) = parts(ROOT / "templates" / "power-cycle.yml")[1].values()
    assert cycle["rules"] == [{"if": '$CI_COMMIT_REF_PROTECTED == "true"', "when": "manual", "allow_failure": True}]
    assert cycle["resource_group"] == "hut-$[[ inputs.slot ]]", "the same as that of the slot's tests"


def test_each_variable_is_an_option() -> None:
    options_of_all = known()
    if "gate" not in COMMANDS:
        options_of_all |= {name for _, name, _ in variables() if name.startswith("HUT_CI_GATE_")}
    missing = [(where, name) for where, name, _ in variables() if name not in options_of_all]
    assert missing == []


def test_each_job_names_its_lane() -> None:
    for path in TEMPLATES:
        for name, job in parts(path)[1].items():
            if "script" in job:
                assert job["variables"]["HUT_CI_LANE"] == ("local-hil" if "tags" in job else "upstream"), name


# --- who uses them -------------------------------------------------------------------------------------------------


def uses() -> Iterator[tuple[Path, str, dict[str, Any]]]:
    for path in [*EXAMPLES, ROOT / ".gitlab-ci.yml"]:
        *header, body = yaml.safe_load_all(path.read_text("utf-8"))
        assert all(Draft202012Validator(SPEC).is_valid(one) for one in header), path
        for entry in body["include"]:
            yield path, entry["component"], entry.get("inputs", {})


def test_every_example_gives_inputs_that_exist_and_those_that_are_needed() -> None:
    seen = list(uses())
    assert {path.parent.name for path, _, _ in seen} >= {"gitlab-minimal", "gitlab-lab-tests-github"}
    for path, component, given in seen:
        wanted = inputs(ROOT / "templates" / f"{component.rpartition('/')[2].partition('@')[0]}.yml")
        assert set(given) <= set(wanted), path
        assert {name for name, spec in wanted.items() if "default" not in spec} <= set(given), path
        for name, value in given.items():
            regex = wanted[name].get("regex")
            passed_on = value == f"$[[ inputs.{name} ]]"
            assert not regex or passed_on or re.search(_re2(regex), value), (path, name)
            assert value in wanted[name].get("options", [value])


def test_our_own_pipeline_uses_every_component_at_its_own_commit() -> None:
    own = [component for path, component, _ in uses() if path.parent == ROOT]
    assert {name.split("/")[2].split("@")[0] for name in own} == {path.stem for path in TEMPLATES}
    assert all(name.endswith("@$CI_COMMIT_SHA") for name in own)


def test_each_job_of_our_own_pipeline_has_a_time_limit() -> None:
    jobs = yaml.safe_load((ROOT / ".gitlab-ci.yml").read_text("utf-8"))
    assert [name for name, job in jobs.items() if "script" in job and "timeout" not in job] == []


def test_docs_list_each_input() -> None:
    """The tables of docs/gitlab.md are those of the components."""
    page = (ROOT / "docs" / "gitlab.md").read_text("utf-8")
    for path in TEMPLATES:
        section = page.partition(f"### {path.stem}\n")[2].partition("\n#")[0]
        rows = re.findall(r"^\| `([a-z-]+)` \| (.*?) \| (.*?) \|$", section, re.M)
        expected = [(name, _default(spec), spec["description"]) for name, spec in inputs(path).items()]
        assert rows == expected, path.stem


def _default(spec: dict[str, Any]) -> str:
    if "default" not in spec:
        return "needed"
    return f"`{spec['default']}`" if spec["default"] != "" else "-"
