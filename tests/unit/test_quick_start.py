"""The quick starts: what they have people type exists, fits together, and is little."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click
import pytest
import yaml

from hut_ci import config
from hut_ci.cli import hut_ci
from hut_ci.stages.github_event import read as read_github

ROOT = Path(__file__).parents[2]
GITHUB, GITLAB = ((ROOT / "docs" / f"quick-start-{forge}.md").read_text("utf-8") for forge in ("github", "gitlab"))
BOTH = pytest.mark.parametrize("page", [GITHUB, GITLAB], ids=["github", "gitlab"])
RIGHTS = {"none": 0, "read": 1, "write": 2}
OURS = "hut-ci/hut_ci/.github/workflows/"
EXAMPLES = sorted((ROOT / "examples").glob("*/.github/workflows/*.yml"))


def typed(page: str) -> list[str]:
    """The lines that a person types, without their remarks."""
    return [line.partition("  #")[0].rstrip() for line in re.findall(r"^    (\S.*)$", blockless(page), re.M)]


def blockless(page: str) -> str:
    return re.sub(r"^```.*?^```", "", page, flags=re.S | re.M)


def block(page: str, name: str) -> Any:
    [text] = re.findall(rf"^```yaml\n# {re.escape(name)}\n(.*?)^```", page, re.S | re.M)
    # `on` is true for a reader of YAML 1.1
    return yaml.load(text, yaml.BaseLoader)  # noqa: S506 (makes texts and nothing else)


def commands(page: str) -> Iterator[list[str]]:
    """The words after each `hut-ci` that is typed."""
    for line in typed(page):
        words = shlex.split(line.partition(" > ")[0])
        for start, word in enumerate(words):
            if word == "hut-ci" and (start == 0 or words[0] == "sudo") and "pip" not in " ".join(words[:start]):
                yield words[start + 1 :]


@BOTH
def test_it_is_little_to_type(page: str) -> None:
    assert 8 <= len(typed(page)) <= 12


@BOTH
def test_its_commands_exist(page: str) -> None:
    found = list(commands(page))
    assert len(found) >= 4
    for words in found:
        command: click.Command | None = hut_ci
        while isinstance(command, click.Group):
            command = command.get_command(click.Context(command), words.pop(0))
        assert command is not None
        command.make_context("hut-ci", words)


@BOTH
def test_its_project_file_loads_and_its_list_is_where_the_gate_looks(page: str, tmp_path: Path) -> None:
    [text] = re.findall(r"^```yaml\n# hut\.yml\n(.*?)^```", page, re.S | re.M)
    (tmp_path / "hut.yml").write_text(text)
    project = config.load_project(tmp_path / "hut.yml")
    assert project.variants
    assert project.suite.expect
    [where] = re.findall(r"slots list --public --json > (\S+)", page)
    if page == GITHUB:
        told = block(page, ".github/workflows/hardware.yml")["jobs"]["hardware"]["with"]["slots"]
    else:
        told = yaml.safe_load((ROOT / "templates/hil.yml").read_text("utf-8").split("\n---\n")[0])
        told = told["spec"]["inputs"]["slots"]["default"]
        assert f"git add {where}" in page
        assert project.artifact.job in block(page, ".gitlab-ci.yml")
    assert told == f"repo:{where}"


@BOTH
def test_the_runner_gets_the_label_of_the_slot(page: str, tmp_path: Path) -> None:
    [slot] = set(re.findall(r"slots add (\S+)", page))
    (tmp_path / "lab.yml").write_text(f"slots:\n  {slot}: {{serial: /dev/serial/by-id/usb-one}}\n")
    [found] = config.load_lab(tmp_path / "lab.yml", {}).slots
    assert (f"--labels {found.label} " if page == GITHUB else f"Tag: `{found.label}`") in page


def allowed(granted: dict[str, str], workflow: dict[Any, Any]) -> list[str]:
    """The rights that a job of the called `workflow` asks for and does not get: with one of them nothing starts."""
    return [
        f"{name}: {right}: {wanted}"
        for name, job in workflow["jobs"].items()
        for right, wanted in job.get("permissions", {}).items()
        if RIGHTS[wanted] > RIGHTS[granted.get(right, "none")]
    ]


def callers() -> Iterator[tuple[str, dict[str, Any]]]:
    """Every workflow, of a page or an example, that may call one of ours: where it stands, and its jobs."""
    texts = {str(path.relative_to(ROOT)): path.read_text("utf-8") for path in EXAMPLES}
    for page in (ROOT / "docs").glob("*.md"):
        for found in re.findall(r"^```yaml\n(# \.github/workflows/.*?)^```", page.read_text("utf-8"), re.S | re.M):
            texts[page.name] = found
    for where, text in texts.items():
        workflow = yaml.load(text, yaml.BaseLoader)  # noqa: S506 (makes texts and nothing else)
        assert workflow["permissions"] == {}, where
        yield where, workflow["jobs"]


CALLS = [(where, job) for where, jobs in callers() for job in jobs.values() if OURS in job.get("uses", "")]


@pytest.mark.parametrize(("where", "job"), CALLS, ids=[where for where, _ in CALLS])
def test_the_called_workflow_would_start(where: str, job: dict[str, Any]) -> None:
    """GitHub starts nothing where the calling job grants less; each right is needed, so that its lack is noticed."""
    name = job["uses"].removeprefix(OURS).partition("@")[0]
    called = yaml.safe_load((ROOT / ".github" / "workflows" / name).read_text("utf-8"))
    assert allowed(job["permissions"], called) == []
    assert set(job.get("with", ())) <= set(called[True]["workflow_call"].get("inputs", ()))
    for right in job["permissions"]:
        less = {name: value for name, value in job["permissions"].items() if name != right}
        assert allowed(less, called), f"{right} is more than is needed"


def test_the_callers_are_found() -> None:
    found = {where for where, _ in CALLS}
    assert found >= {"quick-start-github.md", "github.md"}
    assert len(found) > 5


def test_its_events_are_those_that_the_gate_knows() -> None:
    events = block(GITHUB, ".github/workflows/hardware.yml")["on"]
    assert set(events) == {"workflow_run", "pull_request_target", "issue_comment"}
    assert {event: on["types"] for event, on in events.items()} == {
        "workflow_run": ["completed"],
        "pull_request_target": ["labeled"],
        "issue_comment": ["created"],
    }
    with pytest.raises(Exception, match="starts nothing here"):
        read_github("watch", {}, "/hil", "hil")


def test_what_it_uploads_is_pinned_as_in_the_workflow() -> None:
    [step] = re.findall(r"uses: (actions/upload-artifact@\S+ # \S+)", GITHUB)
    assert step in (ROOT / ".github/workflows/hil.yml").read_text("utf-8")
    assert "flasher_args.json" in GITHUB
    assert "flasher_args.json" in GITLAB


def test_its_components_exist_and_its_job_keeps_the_build() -> None:
    ci = block(GITLAB, ".gitlab-ci.yml")
    names = [re.fullmatch(r"\$CI_SERVER_FQDN/hut-ci/hut_ci/([\w-]+)@[\d.]+", one["component"]) for one in ci["include"]]
    assert [name and (ROOT / "templates" / f"{name[1]}.yml").exists() for name in names] == [True, True]
    example = yaml.safe_load((ROOT / "examples/gitlab-minimal/.gitlab-ci.yml").read_text("utf-8"))
    assert ci["build"]["artifacts"]["paths"] == example["build"]["artifacts"]["paths"]
    assert ci["build"]["rules"] == example["build"]["rules"]
