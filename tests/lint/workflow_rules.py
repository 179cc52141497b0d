"""What GitHub lets pass, or tells only when it runs: rules for workflows and actions, with findings as texts."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

from carriers import Json, events, inputs, load, outputs, own_target, steps

TYPES = {"pull_request_target": ["labeled"], "issue_comment": ["created"], "workflow_run": ["completed"]}
"""An edited comment replays old text; a head that is pushed after the label was set was not meant."""
STRANGERS = set(TYPES)
"""Events that run with our token on what anybody may have sent."""
PINNED = re.compile(r"[\w.-]+/[\w./-]+@[0-9a-f]{40}\Z")
USES = re.compile(r"^\s*(?:- )?uses: (\S+)(.*)$", re.M)
VERSION = re.compile(r" # v\d+\.\d+\.\d+\Z")
RELEASED = " # VERSION"
PERMISSION = re.compile(r"^ +[a-z-]+: (?:read|write)\b(.*)$", re.M)
REFERENCE = re.compile(r"\b(inputs|steps|needs)\.([\w-]+)(?:\.outputs\.([\w-]+))?")


def findings(text: str) -> list[str]:
    """Everything that is wrong with a workflow or an action."""
    document = load(text)
    found = [*_steps(document), *_pins(text)]
    if "jobs" in document:
        found += [*_events(document), *_permissions(document, text), *_needs(document)]
        for name, job in document["jobs"].items():
            found += [f"{name}: {what}" for what in (*_job(job), *_rights(document, job), *_given(job))]
    return [*found, *_references(document)]


def _events(document: Json) -> Iterator[str]:
    for name, filters in events(document).items():
        if name in TYPES and filters.get("types") != TYPES[name]:
            yield f"{name}: its types have to be {TYPES[name]}"


def _permissions(document: Json, text: str) -> Iterator[str]:
    if document.get("permissions") != {}:
        yield "`permissions: {}` is missing at the top"
    for name, job in document["jobs"].items():
        if not _is_map(job.get("permissions")):
            yield f"{name}: it does not say which permissions it needs"
    said = [reason for reason in PERMISSION.findall(text) if re.match(r" # \w", reason)]
    granted = sum(len(job["permissions"]) for job in document["jobs"].values() if _is_map(job.get("permissions")))
    if len(said) != granted:
        yield f"{granted} permissions, but {len(said)} of them with a reason, each on a line of its own"


def _is_map(value: object) -> bool:
    return isinstance(value, dict)


def _job(job: Json) -> Iterator[str]:
    if "steps" in job and "timeout-minutes" not in job:
        yield "it has no timeout-minutes"
    if "strategy" in job and job["strategy"].get("fail-fast") is not False:
        yield "fail-fast: one board would end the tests of the others"


def _rights(document: Json, job: Json) -> Iterator[str]:
    """What a job with a board, or one that checks code out, must not hold."""
    permissions = job.get("permissions", {})
    writes = "write" in (permissions.values() if _is_map(permissions) else str(permissions))
    if "self-hosted" in json.dumps(job.get("runs-on", "")) and writes:
        yield "a job at the lab has a token that writes"
    for step in job.get("steps", ()):
        if step.get("uses", "").startswith("actions/checkout@"):
            if writes or "secrets." in json.dumps(job):
                yield "checkout in a job with secrets or a token that writes"
            if STRANGERS & set(events(document)):
                yield "checkout where strangers start the workflow"
            if step.get("with", {}).get("persist-credentials") is not False:
                yield "checkout leaves its token in the workspace"


def _steps(document: Json) -> Iterator[str]:
    for step in steps(document):
        if "${{" in str(step.get("run", "")):
            yield f"an expression in a script: {step['run']!r}"
        yield from _given(step)


def _given(caller: Json) -> Iterator[str]:
    """The `with:` of a step or of a job that calls a workflow, against its target; nobody else compares them."""
    target = own_target(caller.get("uses", ""))
    if target is None:
        return
    if not target.is_file():
        yield f"{caller['uses']} is not there"
        return
    known, given = inputs(target), set(caller.get("with", {}))
    yield from (f"{caller['uses']} has no input {name}" for name in sorted(given - set(known)))
    wanted = {name for name, spec in known.items() if spec.get("required")}
    yield from (f"{caller['uses']} needs the input {name}" for name in sorted(wanted - given))


def _pins(text: str) -> Iterator[str]:
    for uses, comment in USES.findall(text):
        if uses.startswith(("$/", "./")):
            continue
        ours = own_target(uses) is not None
        if not (
            uses.endswith("@COMMIT") and comment == RELEASED if ours else PINNED.match(uses) and VERSION.match(comment)
        ):
            yield f"not pinned by a commit with its version beside it: {uses}{comment}"


def _needs(document: Json) -> Iterator[str]:
    for name, job in document["jobs"].items():
        for needed in _needed(job):
            if needed not in document["jobs"]:
                yield f"{name}: it needs {needed}, which is not there"


def _needed(job: Json) -> list[str]:
    needs = job.get("needs", [])
    return [needs] if isinstance(needs, str) else needs


def _references(document: Json) -> Iterator[str]:
    """`inputs.X`, `steps.X.outputs.Y`, `needs.X.outputs.Y`: one that is not there is an empty text, silently."""
    inputs_of_it = _own_inputs(document)
    for name, part in {**document.get("jobs", {}), "runs": document.get("runs", {})}.items():
        givers = {
            "inputs": {key: {} for key in inputs_of_it},
            "steps": {step["id"]: step for step in part.get("steps", ()) if "id" in step},
            "needs": {needed: document.get("jobs", {}).get(needed, {}) for needed in _needed(part)},
        }
        for kind, which, output in REFERENCE.findall(_expressions(part)):
            giver = givers[kind].get(which)
            if giver is None or (output and not _has_output(giver, output)):
                yield f"{name}: there is no {kind}.{which}{output and f'.outputs.{output}'}"


def _own_inputs(document: Json) -> set[str]:
    """What `inputs.X` may mean: those of an action, or of any event that starts a workflow with some."""
    if "runs" in document:
        return set(document.get("inputs", {}))
    return {name for filters in events(document).values() for name in filters.get("inputs", {})}


def _expressions(part: Any) -> str:
    """What is in `${{ }}`, and conditions, which are expressions without them."""
    text = json.dumps(part)
    conditions = [str(step["if"]) for step in [part, *part.get("steps", ())] if "if" in step]
    return "\n".join([*re.findall(r"\$\{\{(.*?)\}\}", text), *conditions])


def _has_output(giver: Json, output: str) -> bool:
    target = own_target(giver.get("uses", ""))
    if target is not None:
        return target.is_file() and output in outputs(target)
    return "run" in giver or "uses" in giver or output in giver.get("outputs", {})
