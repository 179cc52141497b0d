"""What zizmor and check-jsonschema find in everything that carries hut-ci, and that they find what is planted."""

from __future__ import annotations

import json
import re
import runpy
import subprocess
import sys
from pathlib import Path

import pytest
from carriers import ACTIONS, GITLAB, ROOT, TEMPLATES, WORKFLOWS

ZIZMOR = Path(sys.executable).with_name("zizmor")
SCHEMAS = Path(sys.executable).with_name("check-jsonschema")
HIL = ROOT / ".github" / "workflows" / "hil.yml"
MOST_IGNORES = 5
IGNORES = {"on: # zizmor: ignore[dangerous-triggers] no job checks code out; firmware bytes are all that crosses"}
"""Each says why. There is none but in examples: events that strangers cause are what a gate is for."""
OWN_WORKFLOWS = sorted(ROOT.glob(".github/workflows/*.yml"))
DEPENDABOT = ROOT / ".github" / "dependabot.yml"


def ran(program: Path, *argv: object) -> subprocess.CompletedProcess[str]:
    if not program.exists():
        pytest.skip(f"{program.name} is not installed (requirements/test.txt)")
    words = [str(word) for word in (program, *argv)]
    return subprocess.run(words, capture_output=True, text=True, timeout=60, check=False)


def audits(*paths: Path) -> list[str]:
    """What zizmor finds: `audit file`."""
    answer = ran(ZIZMOR, "--offline", "--persona=pedantic", "--format=json", "--strict-collection", *paths)
    assert answer.stdout, answer.stderr
    return [f"{found['ident']} {_where(found)}" for found in json.loads(answer.stdout)]


def _where(found: dict[str, object]) -> str:
    return re.sub(r"\s+", " ", json.dumps(found["locations"]))[:300]


def refusals(schema: str, *paths: Path) -> str:
    answer = ran(SCHEMAS, "--builtin-schema", f"vendor.{schema}", *paths)
    return "" if answer.returncode == 0 else answer.stdout + answer.stderr


# --- zizmor


@pytest.fixture(scope="module")
def examples(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """The workflows of the examples, and ours to be copied, as a release gives them: pinned."""
    folder = tmp_path_factory.mktemp("release") / "examples"
    runpy.run_path(str(ROOT / "release" / "stamp.py"))["stamp_examples"](folder, "5e" * 20, "1.2.3")
    return sorted([*folder.glob("*/.github/workflows/*.yml"), *folder.glob("workflows/*.yml")])


def test_security_11_zizmor_finds_nothing(examples: list[Path]) -> None:
    assert audits(*OWN_WORKFLOWS, *ACTIONS, *examples) == []
    assert len(examples) >= 11


@pytest.mark.parametrize(
    ("old", "new", "audit"),
    [
        ("# v7.0.1", "# v7.0.0", ""),
        ("upload-artifact@043fb46d1a93c77aae656e7c1c64a875d1fc6a0a", "upload-artifact@v7", "unpinned-uses"),
        ("permissions: {}\n", "permissions: write-all\n", "excessive-permissions"),
        ("workflow_call:", "workflow_call:\n  pull_request_target:", "dangerous-triggers"),
        ("    steps:\n", "    steps:\n      - run: echo ${{ github.event.comment.body }}\n", "template-injection"),
        (" # to post pending", "", "undocumented-permissions"),
    ],
    ids=["control", "unpinned", "permissions", "trigger", "injection", "reason"],
)
def test_security_28_zizmor_finds_what_is_planted(tmp_path: Path, old: str, new: str, audit: str) -> None:
    text = HIL.read_text("utf-8")
    assert old in text
    planted = tmp_path / ".github" / "workflows" / "hil.yml"
    planted.parent.mkdir(parents=True)
    planted.write_text(text.replace(old, new, 1))
    found = {line.split()[0] for line in audits(planted)}
    assert (audit in found) if audit else not found


def test_each_ignore_is_known_and_they_are_few() -> None:
    texts = [path.read_text("utf-8") for path in (*WORKFLOWS, *ACTIONS)]
    found = [line.strip() for text in texts for line in text.splitlines() if "zizmor: ignore" in line]
    assert set(found) == IGNORES
    assert len(found) <= MOST_IGNORES
    assert not [path for name in ("zizmor.yml", "zizmor.yaml") for path in ROOT.glob(f".github/{name}")]


# --- check-jsonschema


def test_schemas_refuse_nothing(tmp_path: Path) -> None:
    assert refusals("github-workflows", *WORKFLOWS) == ""
    assert refusals("github-actions", *ACTIONS) == ""
    assert refusals("gitlab-ci", *bodies(tmp_path)) == ""
    assert refusals("dependabot", DEPENDABOT) == ""


def bodies(folder: Path) -> list[Path]:
    """Pipelines and components without headers, which the schema does not know; inputs become one of their type."""
    found = []
    for number, path in enumerate([*GITLAB, *TEMPLATES]):
        text = path.read_text("utf-8")
        body = text.partition("\n---\n")[2] or text
        found.append(folder / f"{number}-{path.name}")
        found[-1].write_text(re.sub(r"\$\[\[ inputs\.expire-in \]\]", "30 days", body))
    return found


@pytest.mark.parametrize(
    ("schema", "path", "old", "new"),
    [
        ("github-workflows", HIL, "timeout-minutes:", "timeout_minutes:"),
        ("github-actions", ROOT / "action.yml", "using: composite", "using: shell"),
        ("gitlab-ci", ROOT / ".gitlab-ci.yml", "stages:", "stage:"),
        ("dependabot", DEPENDABOT, "cooldown:", "cool-down:"),
    ],
    ids=["workflow", "action", "gitlab", "dependabot"],
)
def test_security_28_schemas_refuse_what_is_planted(
    tmp_path: Path, schema: str, path: Path, old: str, new: str
) -> None:
    text, planted = path.read_text("utf-8"), tmp_path / path.name
    assert old in text
    planted.write_text(text.replace(old, new, 1))
    assert refusals(schema, planted) != ""
