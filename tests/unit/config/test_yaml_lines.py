"""The reader of lab.yml and hut.yml: what it keeps, and what strangers cannot make it do (security 25)."""

from __future__ import annotations

import contextlib
import grp
import os
import shutil
import tempfile
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from hut_ci.errors import ConfigError
from hut_ci.yaml_lines import SIZE_LIMIT, parse_document, printable, read_document

HERE = Path("hut.yml")


def values(text: str) -> object:
    return parse_document(text.encode(), HERE).data


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("on: off", {"on": "off"}),
        ("a: yes", {"a": "yes"}),
        ("a: true", {"a": True}),
        ("a: 0x10000", {"a": 65536}),
        ("a: 0123", {"a": "0123"}),
        ("a: 24:60:28:10:11:12", {"a": "24:60:28:10:11:12"}),
        ("a: 2026-01-01", {"a": "2026-01-01"}),
        ("a: '1'", {"a": "1"}),
        ("a: 1.5", {"a": 1.5}),
        ("a: .inf", {"a": ".inf"}),
        ("1: a", {"1": "a"}),
        ("a:", {"a": None}),
        ("a: " + "9" * 5000, {"a": "9" * 5000}),
        ("", {}),
        ("# only a comment\n", {}),
    ],
)
def test_values_are_what_people_mean(text: str, value: object) -> None:
    assert values(text) == value


def test_a_fraction_keeps_its_spelling() -> None:
    assert [str(number) for number in values("[3.10, 3.1]")] == ["3.10", "3.1"]  # type: ignore[attr-defined]


def test_lines_of_keys_items_and_what_is_missing() -> None:
    document = parse_document(b"# comment\nslots:\n  hut-01:\n    serial:\n      - /dev/a\n      - /dev/b\n", HERE)
    assert document.line(("slots", "hut-01", "serial", 1)) == 6
    assert document.line(("slots", "hut-01", "serial")) == 4
    assert document.line(("slots", "hut-01", "power", "entity")) == 3
    assert document.line(("nothing",)) == 2


def test_digest_is_of_the_bytes() -> None:
    assert parse_document(b"", HERE).digest == "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (b"a: !!python/object/apply:os.system [id]", "the tag"),
        (b"a: &x 1\nb: " + b"[" + b"*x, " * 65 + b"]", "more than 64 aliases"),
        (b"[" * 18 + b"]" * 18, "nested deeper than 16"),
        (b"[" * 100_000, "nested deeper than 16"),
        (b"- 1\n" * 20_001, "more than 20000 values"),
        (b"a: 1\n" * 2, "the key a twice"),
        (b"? [a]\n: 1\n", "a key that is not text"),
        (b"a: \xff\n", "not UTF-8"),
        (b'a: "\\UFFFFFFFF"', "escape names no character"),
        (b'a: "\\ud800"', "half a surrogate pair"),
        (b"a: \x07\n", "not YAML"),
        (b"x" * (SIZE_LIMIT + 1), "larger than 256 KiB"),
    ],
)
def test_refused(text: bytes, words: str) -> None:
    with pytest.raises(ConfigError, match=r"hut\.yml:[0-9]+: ") as refused:
        parse_document(text, HERE)
    assert words in refused.value.what


@given(st.one_of(st.binary(max_size=200), st.text(alphabet="ab:-[]{}&*!|>'\"#%@`\n \t0x1~<,?\\U", max_size=60)))
@example('"\\xZZ"')
@example("%YAML 99999999999999999999.1\n---\na")
def test_anything_else_is_a_value_or_a_refusal(content: bytes | str) -> None:
    """No other exception, whatever the bytes."""
    with contextlib.suppress(ConfigError):
        parse_document(content if isinstance(content, bytes) else content.encode(), HERE)


@pytest.mark.parametrize(
    ("text", "line"), [("a:\n\tb: 1\n", 2), ("a:\n  - 1\n\t- 2\n", 3), ("a:\n  b: 1\n  \tc: 2\n", 3)]
)
def test_a_tab_is_named_where_it_is(text: str, line: int) -> None:
    with pytest.raises(ConfigError, match=f"hut.yml:{line}: not YAML: a tab in the indentation") as refused:
        values(text)
    assert refused.value.todo == "replace the tab with spaces"


def test_a_tab_elsewhere_is_no_indentation() -> None:
    with pytest.raises(ConfigError, match=r"not YAML: a tab$"):
        values("a: {b:\t3}")


def test_only_regular_files(tmp_path: Path) -> None:
    """A FIFO would wait for ever, a link in a workspace could lead to a file of the host."""
    fifo, link = tmp_path / "fifo.yml", tmp_path / "link.yml"
    os.mkfifo(fifo)
    link.symlink_to("/etc/passwd")
    for path, words in ((fifo, "not a regular file"), (tmp_path, "not a regular file"), (link, "a symbolic link")):
        with pytest.raises(ConfigError, match=words):
            read_document(path, follow_links=False)
    with pytest.raises(ConfigError, match="No such file"):
        read_document(tmp_path / "absent.yml")


def test_printable_cuts_and_escapes() -> None:
    assert printable("a\x1b[31m\nb") == "a\\x1b[31m\\nb"
    assert printable("x" * 100) == "x" * 60 + "…"


@pytest.mark.skipif(os.geteuid() != 0, reason="root may read everything, and become somebody who may not")
def test_who_may_not_read_a_lab_learns_which_group_may() -> None:
    """The lab.yml of `hut-ci watch install` is of the lab's group."""
    group = next(entry for entry in grp.getgrall() if entry.gr_gid not in (0, 65534, *os.getgroups()))
    folder = Path(tempfile.mkdtemp())
    try:
        folder.chmod(0o711)
        (folder / "lab.yml").write_text("lab: kitchen\n")
        (folder / "lab.yml").chmod(0o640)
        shutil.chown(folder / "lab.yml", 0, group.gr_gid)
        os.seteuid(65534)
        try:
            with pytest.raises(ConfigError, match="Permission denied") as refused:
                read_document(folder / "lab.yml")
        finally:
            os.seteuid(0)
        assert f"usermod -aG {group.gr_name} " in refused.value.todo
    finally:
        shutil.rmtree(folder)
