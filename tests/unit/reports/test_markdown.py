"""Markdown for people: verdict first, everything from outside inert, narrow enough for a phone."""

import json

import pytest
from hostile import TEXTS
from rendered import ALIVE, rendered
from report_samples import RUNS

from hut_ci.reports.markdown import LOG_LINES, markdown


def recorded(name: str) -> dict:
    return json.loads((RUNS / f"{name}.json").read_text())


@pytest.mark.parametrize(
    ("name", "title"),
    [
        ("pass", "### ✅ pass: hut-01 · 4m"),
        ("recovered", "### ✅ pass (recovered): hut-01 · 4m"),
        ("flaky", "### ✅ pass (flaky): hut-01 · 4m"),
        ("fail", "### ❌ fail: hut-01 · 4m"),
        ("error", "### ⚠️ lab error: hut-01 · 4m"),
        ("timed_out", "### ⚠️ lab error: hut-01 · 4m"),
        ("config", "### ⚠️ configuration error: hut-01 · 4m"),
        ("blocked", "### ⏸️ blocked: hut-01 · 4m"),
        ("cancelled", "### ⏹️ cancelled: hut-01 · 4m"),
        ("killed", "### ⚠️ lab error: hut-01 · 4m"),
    ],
)
def test_title_and_sentence(name: str, title: str) -> None:
    document = recorded(name)
    page = markdown(document)
    assert page.splitlines()[0] == title
    assert document["human_summary"].split(":")[0] in page.splitlines()[2]


def test_failure_shows_the_end_of_the_log_in_a_fence() -> None:
    document = recorded("fail")
    document["hardware"]["attempts"][0]["suite"]["last_lines"] = [f"line {number}" for number in range(100)]
    page = markdown(document)
    block = page[page.index("```text\n") :].split("```")[1].splitlines()[1:]
    assert block == [f"line {number}" for number in range(100 - LOG_LINES, 100)]


@pytest.mark.parametrize("name", ["pass", "recovered"])
def test_a_pass_shows_no_log(name: str) -> None:
    assert "```" not in markdown(recorded(name))


def test_a_flaky_pass_shows_the_log_of_the_failure() -> None:
    page = markdown(recorded("flaky"))
    assert "Guru Meditation Error" in page
    assert "| suite 1 | panic | 1.4 |" in page


def test_boot_identity_and_recovery_are_told() -> None:
    page = markdown(recorded("recovered"))
    assert "booted: `factory hello 1.2.0 Feb 12 2026 15:02:11`" in page
    assert (
        "- power cycle because of no\\_sync: ok, 4.2 s" in page or "- power cycle because of no_sync: ok, 4.2 s" in page
    )
    assert "settings kept: `nvs`" in page


def test_an_incomplete_report_says_so() -> None:
    assert "This report is incomplete" in markdown(recorded("killed"))
    assert "incomplete" not in markdown(recorded("fail"))


@pytest.mark.parametrize("path", sorted(RUNS.iterdir()), ids=lambda path: path.stem)
def test_tables_fit_a_phone(path) -> None:
    """No table line is wider than three short cells, and none is padded."""
    document = json.loads(path.read_text())
    for case in document["hardware"]["cases"]:
        case["name"] = "a very long name of a checked statement " * 5
    rows = [line for line in markdown(document).splitlines() if line.startswith("|")]
    assert all(len(row) <= 70 for row in rows)
    assert not any("  " in row for row in rows)


@pytest.mark.parametrize("text", TEXTS[1:])
def test_hostile_text_everywhere(text: str) -> None:
    """Security 13: no tag, mention, link or fence of theirs survives a real renderer."""
    document = recorded("fail")
    clean = rendered(markdown(document))
    hardware = document["hardware"]
    hardware["cases"][0].update(name=text, reason=text)
    hardware["attempts"][0]["stages"][0].update(name=text)
    hardware["attempts"][-1]["suite"]["last_lines"] = [text, text]
    hardware["verdict"].update(sentence=f"panic: {text}")
    hardware["recovery_events"][0].update(detail=text)
    hardware["boot"].update(version=text)
    hardware["artifact"].update(name=text)
    hardware.update(slot=text, variant=text, notes=[text])
    document["next_action"] = f"See {text}"
    page = rendered(markdown(document))
    assert [tag for tag in page.tags if tag != "code"] == [tag for tag in clean.tags if tag != "code"]
    assert not ALIVE.search(page.prose)


def test_negative_control() -> None:
    """Security 28: the check above sees raw text for what it is."""
    page = rendered("**@octocat** <script>x</script> http://evil.example")
    assert "script" in page.tags
    assert ALIVE.search(page.prose)
