"""JUnit XML: firmware failures fail, everything else that is not a pass is an error."""

import json
from xml.etree import ElementTree as ET

import pytest
from hostile import TEXTS
from report_samples import RUNS

from hut_ci.reports.junit import junit


def suite_of(document: dict) -> ET.Element:
    root = ET.fromstring(junit(document))  # noqa: S314 (we wrote it ourselves)
    assert [child.tag for child in root] == ["testsuite"]
    return root[0]


def recorded(name: str) -> dict:
    return json.loads((RUNS / f"{name}.json").read_text())


def outcomes(suite: ET.Element) -> dict[str, str]:
    tags = ("failure", "error", "skipped")
    return {
        case.get("name", ""): next((tag for tag in tags if case.find(tag) is not None), "pass")
        for case in suite.findall("testcase")
    }


@pytest.mark.parametrize(
    ("name", "verdict"),
    [
        ("pass", "pass"),
        ("recovered", "pass"),
        ("flaky", "pass"),
        ("fail", "failure"),
        ("error", "error"),
        ("timed_out", "error"),
        ("config", "error"),
        ("blocked", "error"),
        ("cancelled", "error"),
        ("killed", "error"),
    ],
)
def test_verdict(name: str, verdict: str) -> None:
    """Security 23: never green and never a skip where no firmware was judged."""
    suite = suite_of(recorded(name))
    found = outcomes(suite)
    assert found["verdict"] == verdict
    if verdict == "error":
        assert "skipped" not in found.values()
        assert "failure" not in found.values()
    assert (verdict == "pass") == (suite.get("errors") == suite.get("failures") == "0")


def test_counts_and_names() -> None:
    suite = suite_of(recorded("fail"))
    assert suite.get("name") == "hardware.hut-01.4m"
    assert [suite.get(key) for key in ("tests", "failures", "errors", "skipped")] == ["4", "2", "0", "1"]
    failure = suite.find("testcase[@name='verdict']/failure")
    assert failure is not None
    assert failure.get("message") == "panic: app_main (LoadProhibited) after 0.4 s"
    assert failure.get("type") == "panic"


def test_system_out_is_the_end_of_the_log() -> None:
    output = suite_of(recorded("fail")).findtext("system-out") or ""
    assert output.splitlines()[-1].startswith("Backtrace: 0x400d5e19")
    assert "\x1b" not in output


def test_last_attempt_that_watched_the_board() -> None:
    """The second attempt passed: its log is shown, not the first one's."""
    assert suite_of(recorded("flaky")).findtext("system-out") == "ready"


@pytest.mark.parametrize("text", TEXTS)
def test_hostile_text_everywhere(text: str) -> None:
    """Security 13: whatever a board or a build wrote, the XML parses and keeps its shape."""
    document = recorded("fail")
    hardware = document["hardware"]
    hardware["cases"][0].update(name=text, reason=text)
    hardware["cases"][1].update(reason=text)
    hardware["attempts"][-1]["suite"]["last_lines"] = [text, text]
    hardware["verdict"].update(sentence=text)
    hardware.update(slot=text, variant=text)
    suite = suite_of(document)
    assert len(suite.findall("testcase")) == 4
    assert len(suite.findall("system-out")) == 1
