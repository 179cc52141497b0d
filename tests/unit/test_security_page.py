"""docs/security.md: each statement names tests and controls that exist, and its tables of rights are the YAML's."""

from __future__ import annotations

import ast
import re
from functools import cache
from pathlib import Path
from typing import Any

import yaml

from hut_ci.reports.child_pipeline import child_pipeline
from hut_ci.stages.request import from_document

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "security.md").read_text("utf-8")
STATEMENTS = 28
ROW = re.compile(r"^\| (\d+) \| ([^|]+) \| ([^|]+) \| ([^|]+) \|$", re.M)
TEST = re.compile(r"`(test_\w+\.py)::(test_\w+)`")


@cache
def known() -> dict[tuple[str, str], str]:
    """(file, function) of all tests → docstring."""
    return {
        (file.name, node.name): ast.get_docstring(node) or ""
        for file in (ROOT / "tests").rglob("test_*.py")
        for node in ast.parse(file.read_text("utf-8")).body
        if isinstance(node, ast.FunctionDef) and node.name.startswith("test_")
    }


def faults(page: str) -> list[str]:
    """What is wrong with the table of statements."""
    found = []
    rows = {int(number): (shown, control) for number, _, shown, control in ROW.findall(page)}
    found += [f"{number} is missing" for number in range(1, STATEMENTS + 1) if number not in rows]
    for number, cells in rows.items():
        for what, cell in zip(("test", "control"), cells, strict=True):
            named = TEST.findall(cell)
            if not named or re.sub(TEST, "", cell).strip(" ,"):
                found.append(f"{number} has no {what}, or something else beside it")
            found += [f"{number}: {file}::{name} does not exist" for file, name in named if (file, name) not in known()]
        for one in set(TEST.findall(cells[0])) & set(TEST.findall(cells[1])):
            if "control" not in known().get(one, ""):
                found.append(f"{number}: {one[1]} has no control of its own")
    return found


def test_each_statement_names_tests_that_exist() -> None:
    assert faults(PAGE) == []


def test_what_is_missing_is_found() -> None:
    row = next(found[0] for found in ROW.finditer(PAGE) if found[1] == "9")
    control = "`test_archive.py::test_good`"
    assert faults(PAGE.replace(row, "")) == ["9 is missing"]
    assert faults(PAGE.replace(control, "`test_archive.py::test_goodness`")) == [
        "9: test_archive.py::test_goodness does not exist"
    ]
    assert faults(PAGE.replace(control, "by eye")) == ["9 has no control, or something else beside it"]
    assert faults(PAGE.replace(control, "`test_archive.py::test_hostile`")) == [
        "9: test_hostile has no control of its own"
    ]
    shown = row.split(" | ")[2]
    assert faults(PAGE.replace(row, row.replace(shown, "some"))) == ["9 has no test, or something else beside it"]


def test_file_names_tell_tests_apart() -> None:
    """Otherwise a row could be satisfied by another file's test."""
    names = [file.name for file in (ROOT / "tests").rglob("test_*.py")]
    assert sorted(names) == sorted(set(names))


# --- rights ---------------------------------------------------------------------------------------------------


def rows_below(heading: str) -> dict[str, list[str]]:
    """The first table that has `heading` as its header's beginning: first cell → the others."""
    table = PAGE[PAGE.index(heading) :].partition("\n\n")[0].splitlines()[2:]
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in table]
    return {first: rest for first, *rest in cells}


def test_each_job_has_the_rights_that_the_page_tells() -> None:
    """CI-1."""
    told = rows_below("| job | runs on | `actions`")
    names = ("actions", "contents", "issues", "pull-requests", "statuses")
    found = {}
    for path in sorted((ROOT / ".github/workflows").glob("hil*.yml")):
        workflow = yaml.safe_load(path.read_text("utf-8"))
        assert workflow["permissions"] == {}
        for job_name, job in workflow["jobs"].items():
            where = "the lab" if "self-hosted" in job["runs-on"] else "hosted"
            assert set(job["permissions"]) <= set(names)
            found[job_name] = [where, *(job["permissions"].get(name, "-") for name in names)]
    assert told == found


def test_each_job_of_gitlab_has_the_environment_that_the_page_tells() -> None:
    told = rows_below("| job | runs on | environment")
    found: dict[str, list[Any]] = {}
    for name, job in gitlab_jobs().items():
        hosted = "image" in job
        answers = "environment" in job
        token = "`api`, Developer" if answers else "`read_api`, Reporter" if name == "hardware" else "not used"
        found[name] = ["hosted" if hosted else "the lab", "`hardware`" if answers else "-", token]
    assert told == found


def gitlab_jobs() -> dict[str, dict[str, Any]]:
    asked = {
        "schema_version": "hut.request.v1",
        "commit_sha": "5e" * 20,
        "pairs": [{"slot": "hut-01", "variant": "i2s"}],
        "not_after": "2999-01-01T00:00Z",
    }
    _, child = yaml.safe_load_all(child_pipeline(from_document(asked, "request"), asked))
    jobs = {"hardware": child["hardware hut-01"] if "hardware hut-01" in child else child["hardware hut-01 / i2s"]}
    jobs["report"] = child["report"]
    for name in ("hil", "sweep", "upstream-artifact", "power-cycle"):
        body = list(yaml.safe_load_all((ROOT / "templates" / f"{name}.yml").read_text("utf-8")))[1]
        jobs["gate" if name == "hil" else name] = next(job for job in body.values() if "script" in job)
    return jobs
