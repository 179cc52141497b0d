"""The GitLab components in a real engine, against the fake forges and virtual boards; the end state is what counts."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import yaml
from conftest import Firmware, LabOf
from fakes.github import FakeGitHub
from fakes.gitlab import FakeGitLab
from fakes.gitlab_state import Project
from gitlab_engine import PATIENCE, Pipelines, Ran
from live_run import check_free_at_once, check_nobody_writes, programs_with
from upstream import (
    GITHUB,
    GITHUB_TOKEN,
    GITLAB,
    GITLAB_TOKEN,
    PARENT,
    SHA,
    github_with_decoys,
    gitlab_with_decoys,
    zipped,
)

from hut_ci.cli.forges import open_sink
from hut_ci.deadline import Deadline
from hut_ci.forges.address import parse_address
from hut_ci.reports.child_pipeline import child_pipeline
from hut_ci.stages.publish import announce
from hut_ci.stages.request import from_document
from hut_ci.virtual.app_script import Command, Panic
from hut_ci.virtual.lab import VirtualLab

pytestmark = [pytest.mark.real, pytest.mark.timeout(600)]

ROOT = Path(__file__).parents[2]
OWN = "$CI_SERVER_FQDN/$CI_PROJECT_PATH"
STATUS = "hardware / hut-01"
HOSTILE = "$(touch pwned)`touch pwned`\"; touch pwned; '; touch pwned; '\ntouch pwned\n$GITLAB_TOKEN"


@pytest.fixture
def pipelines(tmp_path: Path) -> Pipelines:
    return Pipelines(tmp_path / "project")


def speak_to(pipelines: Pipelines, lab: VirtualLab | None = None, **forges: Any) -> None:
    if "gitlab" in forges:
        pipelines.variables |= {"CI_API_V4_URL": forges["gitlab"].api, "GITLAB_TOKEN": GITLAB_TOKEN}
    if "github" in forges:
        pipelines.variables |= {"GITHUB_API_URL": forges["github"].url, "GITHUB_TOKEN": GITHUB_TOKEN}
    if lab is not None:
        pipelines.variables["HUT_CI_LAB"] = str(lab.lab_yml)


def asked(forge: str, **more: Any) -> dict[str, Any]:
    return {
        "schema_version": "hut.request.v1",
        "commit_sha": SHA,
        "builds": forge,
        "publish": [forge],
        "pairs": [{"slot": "hut-01", "label": "esp32-hut-01"}],
        "not_after": "2999-01-01T00:00:00Z",
        **more,
    }


def child(pipelines: Pipelines, document: dict[str, Any]) -> None:
    text = child_pipeline(from_document(document, "request"), document)
    pipelines.commit({".gitlab-ci.yml": text})


def of_gitlab(gitlab: FakeGitLab, name: str = STATUS) -> list[str]:
    project = gitlab.find_project("acme/firmware")
    assert project is not None
    return [status["status"] for status in project.statuses(SHA) if status["name"] == name]


def of_github(github: FakeGitHub, name: str = STATUS) -> list[str]:
    repo = github.repositories["acme/firmware"]
    return [status["state"] for status in repo.statuses(SHA) if status["context"] == name]


# --- the child pipeline --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("steps", "faults", "state", "said"),
    [
        (("ready",), (), "success", "pass: 1 of 1 expected lines"),
        ((Panic("LoadProhibited"),), (), "failed", "panic: LoadProhibited"),
        (("ready",), ("silent",), "failed", "lab error: "),
    ],
    ids=["pass", "fail", "lab error"],
)
def test_the_answer_reaches_the_commit(
    steps: tuple[Command | str, ...],
    faults: tuple[str, ...],
    state: str,
    said: str,
    gitlab: FakeGitLab,
    lab_of: LabOf,
    firmware: Firmware,
    pipelines: Pipelines,
) -> None:
    project = gitlab_with_decoys(gitlab, zipped(firmware(*steps)))
    speak_to(pipelines, lab_of(faults={"hut-01": list(faults)}), gitlab=gitlab)
    child(pipelines, asked(GITLAB))
    ran = pipelines.run(source="parent_pipeline")
    assert (ran.code == 0) is (state == "success"), ran
    assert of_gitlab(gitlab)[-1:] == of_gitlab(gitlab, "hardware")[-1:] == [state], ran
    (last,) = [status for status in project.statuses(SHA) if status["name"] == STATUS]
    assert last["description"].startswith(said), last
    assert list((pipelines.folder / ".gitlab-ci-local" / "artifacts").rglob("junit.xml")), "for the tests tab"
    assert GITLAB_TOKEN not in ran.output


def test_two_slots_and_a_request_whose_time_is_over(
    gitlab: FakeGitLab, lab_of: LabOf, firmware: Firmware, pipelines: Pipelines
) -> None:
    gitlab_with_decoys(gitlab, zipped(firmware("ready")))
    lab = lab_of(2)
    speak_to(pipelines, lab, gitlab=gitlab)
    pairs = [{"slot": "hut-01"}, {"slot": "hut-02"}]
    child(pipelines, asked(GITLAB, pairs=pairs, not_after="2026-01-01T00:00:00Z"))
    ran = pipelines.run(source="parent_pipeline")
    assert ran.code != 0, ran
    assert [of_gitlab(gitlab, name)[-1] for name in (STATUS, "hardware / hut-02", "hardware")] == ["failed"] * 3, ran
    assert all(set(board.flash) == {0xFF} for board in lab.boards.values()), "nothing is flashed"


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL], ids=["cancelled", "killed"])
def test_a_slot_job_that_is_ended_leaves_a_free_board_and_a_final_state(
    number: signal.Signals, gitlab: FakeGitLab, lab_of: LabOf, firmware: Firmware, pipelines: Pipelines
) -> None:
    """In the middle of flashing; the job that answers runs whatever became of the other."""
    gitlab_with_decoys(gitlab, zipped(firmware("ready")))
    lab = lab_of()
    speak_to(pipelines, lab, gitlab=gitlab)
    child(pipelines, asked(GITLAB))
    board = lab.boards["hut-01"]
    board.hold_at("loader_sync", 1)
    with pipelines.start(source="parent_pipeline") as process:
        board.wait_for("held", PATIENCE)
        (run,) = [pid for pid in programs_with("hut-ci\0run") if Path(f"/proc/{pid}/cwd").resolve() == pipelines.folder]
        os.kill(run, number)
        board.release()
        output, _ = process.communicate(timeout=PATIENCE)
    assert process.returncode != 0, output
    assert of_gitlab(gitlab)[-1:] == of_gitlab(gitlab, "hardware")[-1:], output
    assert of_gitlab(gitlab)[-1] in ("failed", "canceled"), output
    check_nobody_writes(lab)
    check_free_at_once(lab)


def test_a_labs_gitlab_answers_at_github(
    github: FakeGitHub, gitlab: FakeGitLab, lab_of: LabOf, firmware: Firmware, pipelines: Pipelines
) -> None:
    """The lane across forges; several variants share the slot."""
    repo = github_with_decoys(github, zipped(firmware("ready")))
    pipelines.project = "lab/results"
    speak_to(pipelines, lab_of(), github=github, gitlab=gitlab)
    child(pipelines, asked(GITHUB))
    ran = pipelines.run(source="parent_pipeline")
    assert ran.code == 0, ran
    assert of_github(github)[-1] == of_github(github, "hardware")[-1] == "success"
    assert {sha for sha, _, _ in repo.all_statuses()} == {SHA}
    assert gitlab.calls == []


# --- from the gate to the answer -----------------------------------------------------------------------------------


def gated(pipelines: Pipelines, gitlab: FakeGitLab, content: bytes) -> Project:
    """A project whose default branch has the list of slots, and a merge request for SHA; it includes `hil`."""
    project = gitlab_with_decoys(gitlab, content)
    project.commits[PARENT].files["slots.json"] = (ROOT / "examples" / "gitlab-minimal" / "slots.json").read_bytes()
    project.add_merge_request(12, sha=SHA, source_branch="x;$(touch${IFS}pwned)`id`").title = HOSTILE
    project.add_member("ada", 30)
    project.add_member("rep", 20)
    pipelines.variables["CI_DEFAULT_BRANCH"] = "main"
    pipelines.uses("hil", install="", limit=60)
    return project


def begin(pipelines: Pipelines, project: Project, source: str, sha: str = PARENT) -> Ran:
    """A pipeline of the project; the fake knows it, too."""
    line = project.add_pipeline(sha=sha, source=source, status="running", user="ada")
    own = {"CI_COMMIT_SHA": sha, "CI_PIPELINE_ID": str(line.id), "CI_PROJECT_ID": str(project.id)}
    pipelines.variables |= own
    return pipelines.run(source=source)


def note(pipelines: Pipelines, project: Project, login: str, body: str = "/hil hut-01") -> Ran:
    """Somebody writes a note, and a webhook calls the trigger."""
    written = project.merge_requests[12].add_note(body, author=login, created=datetime.now(UTC) + timedelta(hours=1))
    hint = pipelines.folder.parent / "payload.json"
    attributes = {"id": written.id, "note": "/hil"}
    hint.write_text(json.dumps({"object_kind": "note", "merge_request": {"iid": 12}, "object_attributes": attributes}))
    pipelines.variables["TRIGGER_PAYLOAD"] = str(hint)
    return begin(pipelines, project, "trigger")


def test_a_note_is_answered_on_the_merge_requests_head(
    gitlab: FakeGitLab, lab_of: LabOf, firmware: Firmware, pipelines: Pipelines
) -> None:
    lab = lab_of()
    project = gated(pipelines, gitlab, zipped(firmware("ready")))
    speak_to(pipelines, lab, gitlab=gitlab)
    ran = note(pipelines, project, "ada", f"{HOSTILE}\n/hil hut-01\n{HOSTILE}")
    assert ran.code == 0, ran
    assert of_gitlab(gitlab) == ["pending", "success"], ran
    assert of_gitlab(gitlab, "hardware") == [], "one slot's answer is none for all"
    assert project.statuses(PARENT) == []
    assert not list(pipelines.folder.rglob("pwned")), ran


def test_a_note_without_the_right_starts_nothing(
    gitlab: FakeGitLab, lab_of: LabOf, firmware: Firmware, pipelines: Pipelines
) -> None:
    lab = lab_of()
    project = gated(pipelines, gitlab, zipped(firmware("ready")))
    speak_to(pipelines, lab, gitlab=gitlab)
    ran = note(pipelines, project, "rep")
    assert ran.code != 0, ran
    assert of_gitlab(gitlab) == []
    assert [entry.author.username for entry in project.merge_requests[12].notes] == ["rep", "project_7_bot"]
    assert set(lab.boards["hut-01"].flash) == {0xFF}


def test_a_schedule_in_which_nobody_asks_is_green_and_silent(gitlab: FakeGitLab, pipelines: Pipelines) -> None:
    project = gated(pipelines, gitlab, b"")
    speak_to(pipelines, gitlab=gitlab)
    project.merge_requests[12].add_note("looks good", author="ada")
    ran = begin(pipelines, project, "schedule")
    assert ran.code == 0, ran
    assert "nothing to test" in ran.output, ran
    assert of_gitlab(gitlab) == []
    assert len(project.merge_requests[12].notes) == 1


def of_this_checkout(folder: Path, commit: str = "") -> dict[str, Any]:
    """The .gitlab-ci.yml of a folder, with the components of this checkout and without their pip.

    `commit` is the pipeline's input of that name: the engine is not told inputs of the whole.
    """
    text = (folder / ".gitlab-ci.yml").read_text("utf-8")
    text = text.replace("$CI_SERVER_FQDN/hut-ci/hut_ci", OWN).replace("@0.0.0", "@$CI_COMMIT_SHA")
    config: dict[str, Any]
    *_, config = yaml.safe_load_all(text.replace("$[[ inputs.commit ]]", commit))
    for entry in config["include"]:
        if not entry["component"].startswith(f"{OWN}/power-cycle@"):
            entry["inputs"] = {**entry.get("inputs", {}), "install": ""}
    return config


def standing(pipelines: Pipelines, gitlab: FakeGitLab, folder: Path, *files: str) -> Project:
    """The project of `pipelines` on a GitLab with a token that only reads: its last commit, with files of `folder`."""
    gitlab.add_token(GITLAB_TOKEN, username="project_7_bot", kind="project", scopes=["read_api"], access_level=20)
    project = gitlab.project(pipelines.project, id=7)
    project.add_commit(pipelines.head, files={name: (folder / name).read_bytes() for name in files})
    project.set_branch("main", pipelines.head)
    return project


def built_by(pipelines: Pipelines, project: Project, *jobs: str) -> None:
    """Let the engine run these jobs; what the last of them keeps is what the fake has of it afterwards."""
    ran = pipelines.run("--needs", jobs[-1])
    assert ran.code == 0, ran
    line = project.add_pipeline(sha=pipelines.head)
    for job in jobs:
        line.add_job(job, artifacts=zipped(pipelines.folder / ".gitlab-ci-local" / "artifacts" / job))


def test_the_minimal_example_from_its_build_to_its_tests_tab(
    gitlab: FakeGitLab, lab_of: LabOf, firmware: Firmware, pipelines: Pipelines
) -> None:
    """As it stands but for the compiler: `idf.py` is a program that copies a virtual board's build."""
    example = ROOT / "examples" / "gitlab-minimal"
    pipelines.commit({".gitlab-ci.yml": yaml.safe_dump(of_this_checkout(example))})
    pipelines.program("idf.py", f"cp -rL {firmware('Starting app_main', 'ready')} build")
    project = standing(pipelines, gitlab, example, "hut.yml", "slots.json")
    speak_to(pipelines, lab_of(), gitlab=gitlab)
    built_by(pipelines, project, "build")
    ran = begin(pipelines, project, "push", pipelines.head)
    assert ran.code == 0, ran
    assert "pass: 2 of 2 expected lines" in ran.output, ran.output
    (junit,) = (pipelines.folder / ".gitlab-ci-local" / "artifacts").rglob("junit.xml")
    assert 'failures="0"' in junit.read_text("utf-8")
    assert project.posted == [], "the job is the status of its own pipeline's commit"


def test_our_own_pipeline_tests_a_virtual_board(gitlab: FakeGitLab, lab_of: LabOf, pipelines: Pipelines) -> None:
    """Every component at this commit; left out are what needs pip, make and the catalog."""
    config = of_this_checkout(ROOT)
    config["demo-build"]["script"].pop(0)
    del config["check"], config["release"]
    pipelines.commit({".gitlab-ci.yml": yaml.safe_dump(config)})
    project = standing(pipelines, gitlab, ROOT, "hut.yml", "examples/gitlab-minimal/slots.json")
    speak_to(pipelines, lab_of(), gitlab=gitlab)
    built_by(pipelines, project, "demo-build", "firmware")
    ran = begin(pipelines, project, "push", pipelines.head)
    assert ran.code == 0, ran
    assert "pass: 1 of 1 expected lines" in ran.output, ran.output


def test_the_example_tests_a_commit_of_github_and_answers_there(
    github: FakeGitHub, gitlab: FakeGitLab, lab_of: LabOf, firmware: Firmware, tmp_path: Path
) -> None:
    repo = github_with_decoys(github, zipped(firmware(Panic("LoadProhibited"))))
    gitlab.add_token(GITLAB_TOKEN, username="project_8_bot", kind="project", scopes=["read_api"], access_level=20)
    lab_project = gitlab.project("lab/results", id=8)
    slots = (ROOT / "examples" / "gitlab-lab-tests-github" / "slots.json").read_bytes()
    lab_project.add_commit(PARENT, files={"slots.json": slots})
    lab_project.set_branch("main", PARENT)
    pipelines = Pipelines(tmp_path / "project", "lab/results")
    speak_to(pipelines, lab_of(), github=github, gitlab=gitlab)
    config = of_this_checkout(ROOT / "examples" / "gitlab-lab-tests-github", SHA)
    pipelines.commit({".gitlab-ci.yml": yaml.safe_dump(config)})
    lab_project.add_member("ada", 30)
    ran = begin(pipelines, lab_project, "web", pipelines.head)
    assert [of_github(github, name)[-1:] for name in (STATUS, "hardware")] == [["failure"], ["failure"]], ran
    assert {sha for sha, _, _ in repo.all_statuses()} == {SHA}


# --- the other components ------------------------------------------------------------------------------------------


def test_the_sweep_ends_what_a_cancelled_pipeline_left(gitlab: FakeGitLab, pipelines: Pipelines) -> None:
    gitlab_with_decoys(gitlab, b"")
    environ = {"GITLAB_API_URL": gitlab.api, "GITLAB_TOKEN": GITLAB_TOKEN}
    sink = open_sink(parse_address(GITLAB, environ), environ, Deadline(30), print)
    for slot, due in (("hut-01", "2026-01-01T00:00Z"), ("hut-02", "2999-01-01T00:00Z")):
        announce(sink, SHA, slot, "waiting", context=f"hardware / {slot}", target_url=None, not_after=due)
    speak_to(pipelines, gitlab=gitlab)
    pipelines.uses("sweep", install="")
    pushed = pipelines.run(source="push")
    assert "hardware-sweep" not in pushed.output
    assert of_gitlab(gitlab) == ["pending"], "only a schedule sweeps"
    ran = pipelines.run(source="schedule")
    assert ran.code == 0, ran
    assert of_gitlab(gitlab)[-1] == "failed", ran
    assert of_gitlab(gitlab, "hardware / hut-02") == ["pending"], ran


def test_the_power_button_cuts_the_power_and_gives_it_back(lab_of: LabOf, pipelines: Pipelines) -> None:
    lab = lab_of()
    speak_to(pipelines, lab)
    pipelines.variables["CI_COMMIT_REF_PROTECTED"] = "true"
    pipelines.uses("power-cycle", slot="hut-01", label="esp32-hut-01")
    ran = pipelines.run("power-cycle-hut-01")
    assert ran.code == 0, ran
    assert lab.relay.switched() == ["off", "on"], ran


def test_what_upstream_artifact_keeps_is_what_the_lab_flashes(
    gitlab: FakeGitLab, lab_of: LabOf, firmware: Firmware, pipelines: Pipelines
) -> None:
    (pipelines.folder / "built").symlink_to(firmware("ready"))
    build = {"stage": "build", "script": ["cp -rL built out"], "artifacts": {"paths": ["out"]}}
    pipelines.uses("upstream-artifact", build_job="compile", path="out", install="")
    config = yaml.safe_load((pipelines.folder / ".gitlab-ci.yml").read_text())
    (pipelines.folder / ".gitlab-ci.yml").write_text(yaml.safe_dump({**config, "compile": build}))
    ran = pipelines.run()
    assert ran.code == 0, ran
    assert "0x10000" in ran.output, ran
    kept = pipelines.folder / ".gitlab-ci-local" / "artifacts" / "firmware"
    gitlab_with_decoys(gitlab, zipped(kept))
    speak_to(pipelines, lab_of(), gitlab=gitlab)
    child(pipelines, asked(GITLAB))
    assert pipelines.run(source="parent_pipeline").code == 0
    assert of_gitlab(gitlab)[-1] == "success"


# --- hostile inputs ------------------------------------------------------------------------------------------------

NEEDED: Mapping[str, dict[str, object]] = {
    "hil": {"stage": "test"},
    "sweep": {"stage": "test"},
    "upstream-artifact": {"stage": "test", "build-job": "compile"},
}
NAMES = {"stage", "job-prefix", "job", "build-job", "image", "environment", "expire-in", "forks"}
"""Inputs that name jobs, folders and the like to GitLab itself, or are one of a list; patterns guard them."""


@pytest.mark.parametrize(("component", "installing"), [*((name, False) for name in NEEDED), ("sweep", True)])
def test_security_11_hostile_inputs_execute_nothing(component: str, installing: bool, pipelines: Pipelines) -> None:
    """The engine does not know patterns, so that the text reaches the job; each job fails over it, and that is all."""
    header, _ = yaml.safe_load_all((ROOT / "templates" / f"{component}.yml").read_text())
    specs = header["spec"]["inputs"]
    free = [name for name, spec in specs.items() if spec.get("type", "string") == "string" and name not in NAMES]
    given: dict[str, object] = {**NEEDED[component], **dict.fromkeys(free, HOSTILE)}
    if not installing:  # where pip refuses the text, the command is not reached
        given["install"] = ""
    pipelines.uses(component, **given)
    config = yaml.safe_load((pipelines.folder / ".gitlab-ci.yml").read_text())
    compile_job = {"stage": "build", "script": ["true"]}
    (pipelines.folder / ".gitlab-ci.yml").write_text(yaml.safe_dump({**config, "compile": compile_job}))
    ran = pipelines.run(source="schedule" if component == "sweep" else "web")
    assert ran.code != 0, ran
    assert ("ERROR: " in ran.output) is installing, ran
    assert not list(pipelines.folder.rglob("pwned")), ran


def test_security_11_the_text_would_execute_in_a_script(pipelines: Pipelines) -> None:
    text = 'spec: {inputs: {word: {default: x}}}\n---\njob:\n  script:\n    - echo "$[[ inputs.word ]]"\n'
    pipelines.commit({})
    (pipelines.folder / "templates" / "planted.yml").write_text(text)
    include = [{"local": "/templates/planted.yml", "inputs": {"word": HOSTILE}}]
    pipelines.commit({".gitlab-ci.yml": yaml.safe_dump({"include": include})})
    pipelines.run()
    assert (pipelines.folder / "pwned").exists()


# --- what the engine makes of the files ----------------------------------------------------------------------------


@pytest.mark.parametrize("folder", [".", "examples/gitlab-minimal", "examples/gitlab-lab-tests-github"])
def test_our_pipeline_and_the_examples_are_what_gitlab_takes(folder: str, pipelines: Pipelines) -> None:
    """The engine holds each file to GitLab's own schema; the examples' components are ours at this commit."""
    pipelines.commit({".gitlab-ci.yml": yaml.safe_dump(of_this_checkout(ROOT / folder))})
    ran = pipelines.run("--preview")
    assert ran.code == 0, ran
    jobs = yaml.safe_load(ran.output[ran.output.index("---\n") :])
    assert {"hardware-gate", "hardware", "hardware-sweep"} <= set(jobs), ran
    assert jobs["hardware-gate"]["environment"] == {"name": "hardware", "action": "access"}
    assert jobs["hardware-gate"]["variables"]["HUT_CI_GATE_CONTEXT"] == "hardware / {slot}"
    assert "$[[" not in ran.output


@pytest.mark.parametrize(("source", "each", "asked"), [("merge_request_event", True, False), ("trigger", True, True)])
def test_merge_requests_may_wait_until_somebody_asks(
    source: str, each: bool, asked: bool, pipelines: Pipelines
) -> None:
    pipelines.variables["CI_DEFAULT_BRANCH"] = "main"
    for merge_requests, begins in (("each", each), ("asked", asked)):
        pipelines.uses("hil", install="", merge_requests=merge_requests)
        listed = pipelines.run("--list", source=source)
        assert ("hardware-gate" in listed.output) is begins, listed


def test_the_engine_refuses_what_gitlab_would(pipelines: Pipelines) -> None:
    pipelines.commit({".gitlab-ci.yml": "job: {script: [x], artifacts: {when: sometimes}}\n"})
    assert pipelines.run("--preview").code != 0
    pipelines.uses("power-cycle", label="esp32-hut-01")
    assert "required value has not been provided" in pipelines.run("--preview").output
    pipelines.uses("hil", forks="always")
    assert "cannot be used" in pipelines.run("--preview").output
