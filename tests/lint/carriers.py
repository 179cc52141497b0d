"""The YAML that carries hut-ci: which files there are, and what they refer to."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).parents[2]
OWN = "hut-ci/hut_ci"
WORKFLOWS = sorted([*ROOT.glob(".github/workflows/*.yml"), *ROOT.glob("examples/*/.github/workflows/*.yml")])
ACTIONS = [ROOT / "action.yml", *sorted(ROOT.glob(".github/actions/*/action.yml"))]
GITLAB = [ROOT / ".gitlab-ci.yml", *sorted(ROOT.glob("examples/*/.gitlab-ci.yml"))]
TEMPLATES = sorted(ROOT.glob("templates/*.yml"))
OURS = re.compile(rf"(?:\$/|\./|{OWN}/?)(?P<path>[^@]*)(?:@COMMIT)?\Z")
Json = Mapping[str, Any]


def called(path: Path) -> str:
    return str(path.relative_to(ROOT))


def load(text: str) -> dict[str, Any]:
    """One document, behind a header of inputs if there is one; YAML 1.1 reads the key `on` as true."""
    *_, document = yaml.load_all(text, Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader))
    return {"on" if key is True else key: value for key, value in document.items()}


def events(document: Json) -> dict[str, Json]:
    """What starts a workflow, with the filters of each event; a schedule has none."""
    on = document["on"]
    if not isinstance(on, dict):
        return {name: {} for name in ([on] if isinstance(on, str) else on)}
    return {name: filters if isinstance(filters, dict) else {} for name, filters in on.items()}


def steps(document: Json) -> Iterator[Json]:
    """All steps of a workflow or an action."""
    for part in [*document.get("jobs", {}).values(), document.get("runs", {})]:
        yield from part.get("steps", ())


def own_target(uses: str) -> Path | None:
    """The file of this repository that a `uses:` means; None where it is somebody else's."""
    found = OURS.match(uses)
    if not found:
        return None
    path = ROOT / found["path"]
    return path if path.suffix == ".yml" else path / "action.yml"


def inputs(path: Path) -> Json:
    """The inputs of an action or of a reusable workflow."""
    return _interface(path).get("inputs", {})


def outputs(path: Path) -> Json:
    return _interface(path).get("outputs", {})


@cache
def _interface(path: Path) -> Json:
    document = load(path.read_text("utf-8"))
    return events(document)["workflow_call"] if "on" in document else document
