"""JUnit XML from a report document: what a forge's test tab shows.

Firmware failures are `<failure>`. Whatever kept the firmware from being judged is `<error>`: never a pass,
and never `<skipped>`, which test tabs count as fine.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any
from xml.etree import ElementTree as ET

from hut_ci.reports.escaping import xml_text
from hut_ci.reports.status_text import full_status

LAST_LINES = 200


def junit(document: Mapping[str, Any]) -> str:
    """One testsuite for the slot: a testcase per checked statement, and `verdict` for the run as a whole."""
    hardware = document["hardware"]
    name = ".".join(_text(part) for part in ("hardware", hardware["slot"], hardware["variant"]) if part)
    cases = [_case(case, name, hardware["verdict"]) for case in hardware["cases"]]
    cases.append(_verdict(document, name))
    suite = ET.Element("testsuite", name=name, timestamp=_text(document["start_utc"]).removesuffix("Z"))
    suite.set("time", f"{document['duration_sec']:.3f}")
    suite.set("tests", str(len(cases)))
    for attribute, tag in (("failures", "failure"), ("errors", "error"), ("skipped", "skipped")):
        suite.set(attribute, str(sum(case.find(tag) is not None for case in cases)))
    suite.append(_properties(document))
    suite.extend(cases)
    if lines := last_lines(hardware["attempts"]):
        ET.SubElement(suite, "system-out").text = "\n".join(xml_text(line) for line in lines[-LAST_LINES:])
    root = ET.Element("testsuites")
    root.append(suite)
    ET.indent(root)
    return '<?xml version="1.0" encoding="UTF-8"?>\n' + ET.tostring(root, encoding="unicode") + "\n"


def last_lines(attempts: Sequence[Mapping[str, Any]]) -> list[str]:
    """The end of the serial log of the last of `attempts` that watched the board."""
    suites = [attempt["suite"] for attempt in attempts if attempt["suite"]]
    return list(suites[-1]["last_lines"]) if suites else []


def _case(case: Mapping[str, Any], classname: str, verdict: Mapping[str, Any]) -> ET.Element:
    element = ET.Element("testcase", name=_text(case["name"]), classname=classname, time=f"{case['seconds']:.3f}")
    tag = _tag(str(case["outcome"]), str(verdict["name"]))
    if tag:
        text = case["reason"] or ("not reached" if case["outcome"] == "skipped" else case["outcome"])
        ET.SubElement(element, tag, message=_text(text))
    return element


def _tag(outcome: str, verdict: str) -> str | None:
    if outcome == "pass":
        return None
    if outcome == "skipped" and verdict in ("pass", "fail"):
        return "skipped"
    return "failure" if outcome == "fail" and verdict in ("pass", "fail") else "error"


def _verdict(document: Mapping[str, Any], classname: str) -> ET.Element:
    verdict = document["hardware"]["verdict"]
    element = ET.Element("testcase", name="verdict", classname=classname, time=f"{document['duration_sec']:.3f}")
    if verdict["name"] != "pass" or document["hardware"]["partial"]:
        tag = "failure" if verdict["name"] == "fail" else "error"
        problem = ET.SubElement(
            element, tag, message=_text(full_status(document)), type=_text(verdict["evidence"]["id"])
        )
        problem.text = _text(document.get("next_action", ""))
    return element


def _properties(document: Mapping[str, Any]) -> ET.Element:
    hardware = document["hardware"]
    board = hardware["board"] or {}
    shown = {
        "commit_sha": document.get("commit_sha"),
        "lane": hardware["lane"],
        "slot": hardware["slot"],
        "variant": hardware["variant"],
        "verdict": full_status(document),
        "chip": board.get("chip"),
        "mac": board.get("mac"),
        "power_cycle_count": hardware["power_cycle_count"],
        "attempts": len(hardware["attempts"]),
        "recovered": hardware["verdict"]["recovered"],
        "flaky": hardware["verdict"]["flaky"],
    }
    properties = ET.Element("properties")
    for name, value in shown.items():
        if value is not None:
            ET.SubElement(properties, "property", name=name, value=_text(value))
    return properties


def _text(value: Any) -> str:
    return xml_text(str(value))
