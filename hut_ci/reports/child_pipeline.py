"""A request as the GitLab pipeline that answers it: one job for each slot and variant, then the one that publishes.

What comes from outside is data here: names are checked before they become part of a job, the request travels as one
variable that nothing expands, and no `script:` holds anything but our own constant lines. What the jobs that answer run
on and install is an input of the pipeline (`INPUTS`), which the job that starts it gives: the gate, whose variables
could be replaced, has no say in it.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from typing import Any

import yaml

from hut_ci.errors import ConfigError
from hut_ci.model import Pair, Request

INSTALL = 'test -z "$HUT_CI_INSTALL" || python3 -m pip install --quiet -- "$HUT_CI_INSTALL"'
"""The first line of each job on a hosted runner; templates/ have the same one."""
LABEL = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,127}")
VARIANT = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
REPORTS = "hut-ci-report/$CI_PIPELINE_ID"
"""Of this pipeline alone, whatever a hosted runner keeps of others."""
EMPTY = {"GIT_STRATEGY": "empty"}
"""No file of the repository, and nothing that earlier jobs left, on the lab host (needs GitLab Runner 17.3)."""
MARGIN_MINUTES = 10
"""From the end of the run's own limit to that of its job, so that hut-ci always has the time to report."""
INPUTS: dict[str, dict[str, Any]] = {
    "image": {"default": "python:3.12-slim"},
    "install": {"default": ""},
    "environment": {"default": "hardware"},
    "limit": {"type": "number", "default": 1800},
}
"""Image, package and environment of the job that answers, and the time limit of each run in seconds."""
MOST_BYTES = 1 << 17
"""Of one environment variable (Linux, MAX_ARG_STRLEN): the request has to fit."""


class _Input(str):
    """The value of an input: quoted, so that an empty one is no null."""

    def __new__(cls, name: str) -> _Input:
        return super().__new__(cls, f"$[[ inputs.{name} ]]")


class _Dumper(yaml.SafeDumper):
    def ignore_aliases(self, data: object) -> bool:  # noqa: ARG002 (the base class's signature)
        return True


_Dumper.add_representer(_Input, lambda dumper, text: dumper.represent_scalar("tag:yaml.org,2002:str", text, style='"'))


def child_pipeline(request: Request | None, document: Mapping[str, Any] | None, hosted_tags: Sequence[str] = ()) -> str:
    """The YAML text; `document` is the request as hut.request.v1. Without one, a pipeline that does nothing.

    GitLab starts the child in any case, and a file without a job would be an error. `hosted_tags` are those of the
    runners that serve the job that answers. Raises ConfigError.
    """
    hosted = {"image": _Input("image"), **({"tags": list(hosted_tags)} if hosted_tags else {})}
    jobs = _nothing(hosted) if request is None or document is None else _jobs(request, document, hosted)
    options: dict[str, Any] = {"Dumper": _Dumper, "sort_keys": False, "allow_unicode": False, "width": 1000}
    text: str = yaml.dump_all([{"spec": {"inputs": INPUTS}}, jobs], **options)
    return text


def _nothing(hosted: Mapping[str, Any]) -> dict[str, Any]:
    return {"nothing to test": {**hosted, "variables": EMPTY, "script": ["true"]}}


def _jobs(request: Request, document: Mapping[str, Any], hosted: Mapping[str, Any]) -> dict[str, Any]:
    carried = _unexpandable(document)
    return {
        "stages": ["hardware", "report"],
        "variables": dict.fromkeys(("HUT_CI_RUN_REQUEST", "HUT_CI_REPORT_PUBLISH_REQUEST"), carried),
        **{f"hardware {request.name_of(pair)}": _hardware(pair) for pair in request.pairs if pair.blocked is None},
        "report": _report(hosted),
    }


def _unexpandable(document: Mapping[str, Any]) -> dict[str, Any]:
    """The request as a variable. Without a dollar sign, too: runners before GitLab 15.8 ignore `expand`."""
    text = json.dumps(document, separators=(",", ":")).replace("$", "\\u0024")
    if len(text) >= MOST_BYTES:
        raise ConfigError(
            f"the request is {len(text)} bytes long, too long for a variable",
            why=f"a job can be given {MOST_BYTES} bytes",
            todo="ask for fewer slots or variants at once",
        )
    return {"value": text, "expand": False}


def _hardware(pair: Pair) -> dict[str, Any]:
    label = _checked("label", LABEL, pair.label or f"esp32-{pair.slot}")
    folder = f"{REPORTS}/$CI_JOB_ID"
    return {
        "stage": "hardware",
        "tags": [label],
        "resource_group": f"hut-{pair.slot}",
        "timeout": f"{MARGIN_MINUTES} minutes {_Input('limit')} seconds",
        "variables": {
            **EMPTY,
            "HUT_CI_LANE": "local-hil",
            "HUT_CI_RUN_SLOT": pair.slot,
            **({"HUT_CI_RUN_VARIANT": _checked("variant", VARIANT, pair.variant)} if pair.variant else {}),
            "HUT_CI_RUN_LIMIT": _Input("limit"),
            "HUT_CI_RUN_OUT": folder,
        },
        "script": ["hut-ci run"],
        "artifacts": {
            "when": "always",
            "name": f"hardware-{pair.slot}",
            "paths": [f"{folder}/"],
            "expire_in": "30 days",
            "reports": {"junit": f"{folder}/junit.xml"},
        },
    }


def _report(hosted: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "stage": "report",
        "when": "always",
        **hosted,
        "timeout": f"{MARGIN_MINUTES} minutes",
        "environment": {"name": _Input("environment"), "action": "access"},
        "variables": {
            **EMPTY,
            "HUT_CI_LANE": "upstream",
            "HUT_CI_INSTALL": _Input("install"),
            "HUT_CI_REPORT_PUBLISH_REPORTS": REPORTS,
        },
        "before_script": [INSTALL],
        "script": ["hut-ci report publish"],
    }


def _checked(what: str, allowed: re.Pattern[str], text: str) -> str:
    if allowed.fullmatch(text):
        return text
    raise ConfigError(
        f"{text[:64]!r} is no {what} that a job can have",
        why="letters, digits, `.`, `_` and `-` are allowed, beginning with a letter or a digit",
        todo=f"rename the {what}",
    )
