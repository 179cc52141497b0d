"""Security 12 and 13: text from outside is only ever text, wherever it is shown."""

import json
import re
from xml.etree import ElementTree as ET

import pytest
from hostile import TEXTS
from hypothesis import example, given
from hypothesis import strategies as st
from rendered import ALIVE, is_command, rendered

from hut_ci.reports import escaping

ANY = st.text(st.characters(), max_size=60) | st.sampled_from(TEXTS)
SHORT = [text for text in TEXTS if 0 < len(text) < 1000]


@given(ANY)
def test_plain_is_one_printable_line(text: str) -> None:
    shown = escaping.plain(text)
    shown.encode("utf-8")
    assert not re.search(r"[\x00-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069]", shown)
    assert escaping.plain(shown) == shown


def test_plain_keeps_words_and_drops_only_sequences() -> None:
    assert escaping.plain("\x1b[0;32mI (350) main:\x1b[0m  Grüße\t漢字\r\n") == "I (350) main: Grüße 漢字"


def test_an_unfinished_sequence_cannot_swallow_the_line() -> None:
    """A board that prints an opening OSC must not hide what follows from people who read the report."""
    assert "Guru Meditation" in escaping.plain("\x1b]0;Guru Meditation Error")
    assert "Guru Meditation" in escaping.plain("\x9dGuru Meditation Error")


@pytest.mark.parametrize(
    ("text", "limit", "result"), [("abcdef", 6, "abcdef"), ("abcdefg", 6, "abcde…"), ("ab  cdef", 5, "ab…")]
)
def test_cut(text: str, limit: int, result: str) -> None:
    assert escaping.cut(text, limit) == result


@given(ANY)
def test_xml_text_parses_back(text: str) -> None:
    element = ET.Element("a", message=escaping.xml_text(text))
    element.text = escaping.xml_text(text)
    back = ET.fromstring(ET.tostring(element, encoding="unicode"))  # noqa: S314 (we wrote it ourselves)
    assert (back.text or "") == escaping.xml_text(text)


@pytest.mark.parametrize("text", SHORT)
def test_markdown_text_is_prose_in_a_real_renderer(text: str) -> None:
    page = rendered(f"**x {escaping.markdown_text(text)}**")
    assert page.tags == ["p", "strong"]
    assert not ALIVE.search(page.text)


@example("-")
@example("+")
@example("#")
@example("##")
@example("1.")
@given(ANY.filter(lambda text: len(text) < 1000))
def test_markdown_text_shows_what_was_written(text: str) -> None:
    """Readers see the same words; only invisible joiners are added."""
    page = rendered(f"{escaping.markdown_text(text)} end")
    assert page.tags == ["p"]
    assert page.text.replace(escaping.WORD_JOINER, "").split() == [*escaping.plain(text).split(), "end"]
    assert not ALIVE.search(page.text)


@pytest.mark.parametrize("text", SHORT)
def test_markdown_text_in_a_table(text: str) -> None:
    page = rendered(f"| a | b |\n| --- | --- |\n| {escaping.markdown_text(text)} | end |\n")
    assert page.tags == ["table", "thead", "tr", "th", "th", "tbody", "tr", "td", "td"]
    assert page.text.split()[-1] == "end"


@given(ANY.filter(lambda text: len(text) < 1000))
def test_markdown_code_is_one_span(text: str) -> None:
    page = rendered(f"- x: {escaping.markdown_code(text)} end")
    assert page.tags == ["ul", "li", "code"]
    assert page.prose.split() == ["x:", "end"]


@given(st.lists(ANY, max_size=6))
def test_markdown_block_holds_everything(lines: list[str]) -> None:
    page = rendered(f"before\n\n{escaping.markdown_block(lines)}\n\nafter")
    assert page.tags == ["p", "pre", "code", "p"]
    assert page.prose.split() == ["before", "after"]
    assert all(len(line) <= 240 for line in page.text.splitlines())


@pytest.mark.parametrize("text", TEXTS)
def test_ci_log_holds_no_command(text: str) -> None:
    for line in re.split(r"\r\n|\r|\n", escaping.ci_log(text)):
        assert not is_command(line)


@pytest.mark.parametrize("text", TEXTS)
def test_json_in_a_ci_log_holds_no_command(text: str) -> None:
    """And is the same document; the control below sees what the raw texts hold."""
    written = escaping.ci_log_json(json.dumps({"a": [text, f"#{text}"]}, indent=2))
    assert not any(is_command(line) for line in written.split("\n"))
    assert json.loads(written) == {"a": [text, f"#{text}"]}


def test_ci_log_negative_control() -> None:
    """Security 28: the check above sees the commands in the raw texts."""
    raw = [line for text in TEXTS for line in re.split(r"\r\n|\r|\n", text)]
    assert sum(is_command(line) for line in raw) >= 8


def test_no_line_commands_gitlab() -> None:
    """security 13: GitLab obeys a note's line that starts with a slash, and takes a code block to end at ```."""
    lines = ["```", "/close", "  /merge", "a /path stays", "/label ~x"]
    text = f"{escaping.markdown_text('/close')}\n\n{escaping.markdown_block(lines)}"
    assert not [line for line in text.split("\n") if line.lstrip().startswith("/")]
    assert "a /path stays" in text
