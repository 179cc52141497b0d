"""Inputs and outputs: each is carried, is the same on both forges, and stands in the docs."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click
import pytest
import yaml
from carriers import ACTIONS, ROOT, called, inputs, load, outputs, steps

from hut_ci.cli import hut_ci
from hut_ci.cli.resolve import OUTPUTS

SETUP = ROOT / ".github" / "actions" / "setup" / "action.yml"
CARRYING = [path for path in ACTIONS if path != SETUP]
PAGE = ROOT / "docs" / "github.md"
NOT_OPTIONS = {"HUT_CI", "HUT_CI_LANE", "HUT_CI_RUNNERS_TOKEN"}
"""The last one is a token, which no command line takes."""
INTERFACES = [*(ROOT / ".github" / "workflows" / name for name in ("hil.yml", "hil-sweep.yml")), *ACTIONS]
TWINS = {
    "hil": ROOT / ".github" / "workflows" / "hil.yml",
    "sweep": ROOT / ".github" / "workflows" / "hil-sweep.yml",
    "power-cycle": ROOT / ".github" / "actions" / "power-cycle" / "action.yml",
}
"""Component → what GitHub has instead."""
ONLY_GITHUB = {
    "hil": {
        "runner": "GitLab chooses runners by tags, and the hosted jobs' image is an input",
    },
    "sweep": {"runner": "as in hil"},
    "power-cycle": {
        "within": "$HUT_CI_POWER_CYCLE_WITHIN",
        "off-seconds": "$HUT_CI_POWER_CYCLE_OFF_SECONDS",
        "on-seconds": "$HUT_CI_POWER_CYCLE_ON_SECONDS",
        "lab": "the runner's own environment names it",
    },
}
JOBS = {
    "stage": "stages are GitLab's",
    "job-prefix": "a calling job has its own name on GitHub",
    "image": "GitHub's runners have Python",
    "install": "the setup action installs from its own commit",
}
ONLY_GITLAB = {
    "hil": JOBS
    | {
        "environment": "on GitHub a job's permissions decide what its token may",
        "builds": "on GitHub the gate action has it; a workflow there is called in the repository that builds",
        "publish": "as builds",
        "merge-requests": "on GitHub the calling workflow's events say so",
    },
    "sweep": JOBS | {"environment": "as in hil", "forge": "as builds in hil"},
    "power-cycle": {
        "stage": JOBS["stage"],
        "job-prefix": JOBS["job-prefix"],
        "label": "an action runs in the caller's job, which says where",
    },
}
OTHER_DEFAULTS = {("hil", "slots"): "GitHub's own files lie in .github"}


def command_of(action: Path) -> tuple[str, dict[str, str]]:
    """What an action starts, and the environment that it gives."""
    (step,) = [step for step in steps(load(action.read_text("utf-8"))) if step["run"].startswith('exec "$HUT_CI" ')]
    return step["run"].removeprefix('exec "$HUT_CI" '), step["env"]


def options_of(words: str) -> set[str]:
    first, *others = words.split()
    context, command = click.Context(hut_ci), hut_ci.get_command(click.Context(hut_ci), first)
    for word in others:
        assert isinstance(command, click.Group)
        command = command.get_command(context, word)
    assert command is not None
    return {str(parameter.envvar) for parameter in command.params}


def uncarried(action: Path, environ: dict[str, str], known: set[str]) -> Iterator[str]:
    """Inputs that arrive nowhere, twice, or under a name that is no option's."""
    carried = [value for value in environ.values() if value.startswith("${{ inputs.")]
    for name in inputs(action):
        times = carried.count(f"${{{{ inputs.{name} }}}}")
        if times != 1:
            yield f"{name} is carried {times} times"
    for name in environ:
        if name.startswith("HUT_CI") and name not in known | NOT_OPTIONS:
            yield f"{name} is no option"


@pytest.mark.parametrize("action", CARRYING, ids=called)
def test_each_input_of_an_action_is_an_option_of_its_command(action: Path) -> None:
    words, environ = command_of(action)
    assert list(uncarried(action, environ, options_of(words))) == []


def test_a_misspelt_one_is_found() -> None:
    words, environ = command_of(ROOT / "action.yml")
    environ["HUT_CI_RUN_SLOTS"] = environ.pop("HUT_CI_RUN_SLOT")
    environ.pop("HUT_CI_RUN_WAIT")
    assert list(uncarried(ROOT / "action.yml", environ, options_of(words))) == [
        "wait is carried 0 times",
        "HUT_CI_RUN_SLOTS is no option",
    ]


def test_resolve_gives_the_outputs_that_its_action_promises() -> None:
    assert set(outputs(ROOT / ".github" / "actions" / "resolve" / "action.yml")) == set(OUTPUTS)


def component(name: str) -> dict[str, dict[str, Any]]:
    header = next(yaml.safe_load_all((ROOT / "templates" / f"{name}.yml").read_text("utf-8")))
    found: dict[str, dict[str, Any]] = header["spec"]["inputs"]
    return found


@pytest.mark.parametrize("name", TWINS)
def test_both_forges_take_the_same_inputs(name: str) -> None:
    there, here = component(name), inputs(TWINS[name])
    assert set(here) - set(there) == set(ONLY_GITHUB[name])
    assert set(there) - set(here) == set(ONLY_GITLAB[name])
    for both in set(here) & set(there):
        if (name, both) not in OTHER_DEFAULTS:
            assert str(here[both].get("default")) == str(there[both].get("default")), both


def test_each_component_has_a_twin_or_none_on_purpose() -> None:
    """`upstream-artifact` is GitLab's alone: there a job's archive is the artifact; GitHub's builds upload one."""
    assert {path.stem for path in (ROOT / "templates").glob("*.yml")} == {*TWINS, "upstream-artifact"}


def rows(path: Path) -> str:
    """The tables of a carrier's inputs and outputs as docs/github.md has them."""
    lines = []
    if inputs(path):
        lines += ["| input | default | |", "| --- | --- | --- |"]
        lines += [
            f"| `{name}` | {_default(spec)} | {_cell(spec['description'])} |" for name, spec in inputs(path).items()
        ]
    if outputs(path):
        lines += ["", "| output | |", "| --- | --- |"] if lines else ["| output | |", "| --- | --- |"]
        lines += [f"| `{name}` | {_cell(spec['description'])} |" for name, spec in outputs(path).items()]
    return "\n".join(lines)


def _cell(text: str) -> str:
    return text.replace("|", "\\|")


def _default(spec: dict[str, Any]) -> str:
    if spec.get("required"):
        return "needed"
    return f"`{spec['default']}`" if spec.get("default", "") != "" else "-"


def title(path: Path) -> str:
    folder = path.parent.name
    if path.parent == ROOT:
        return "The action: a run on a slot"
    return path.name if folder == "workflows" else f"actions/{folder}"


@pytest.mark.parametrize("path", INTERFACES, ids=called)
def test_docs_list_inputs_and_outputs(path: Path) -> None:
    section = PAGE.read_text("utf-8").partition(f"\n### {title(path)}\n")[2].partition("\n#")[0]
    table = "\n".join(re.findall(r"^\|.*|^$", section, re.M)).strip()
    assert table == rows(path), f"the section should be\n{rows(path)}"
