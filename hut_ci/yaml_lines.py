"""YAML read as plain values, with the line of every key: the one reader of lab.yml and hut.yml.

Less than YAML on purpose. Keys are always text, so that `on:` and `off:` stay words (YAML 1.1 turns them into
booleans, and `24:60:28:10:11:12` into a number). No tags, no merge keys, no second document, no duplicate keys.
Size, depth, values and aliases are bounded, because hut.yml is written by strangers.
"""

from __future__ import annotations

import errno
import grp
import hashlib
import os
import re
import stat
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from hut_ci.errors import ConfigError

SIZE_LIMIT = 256 << 10
VALUE_LIMIT = 20_000
DEPTH_LIMIT = 16
ALIAS_LIMIT = 64

KeyPath = tuple[str | int, ...]

_INTEGER = re.compile(r"[-+]?(0|[1-9][0-9]{0,17})\Z")
_HEXADECIMAL = re.compile(r"0x[0-9a-fA-F]{1,16}\Z")
_FRACTION = re.compile(r"[-+]?[0-9]{1,18}\.[0-9]{1,18}\Z")
_SURROGATE = re.compile("[\ud800-\udfff]")
_WORDS: dict[str, bool | None] = {"": None, "~": None, "null": None, "true": True, "false": False}


class Fraction(float):
    """A number that remembers its spelling: chip revision `3.10` is not `3.1`."""

    text: str

    def __new__(cls, text: str) -> Fraction:
        number = super().__new__(cls, text)
        number.text = text
        return number

    def __str__(self) -> str:
        return self.text


@dataclass(frozen=True, slots=True)
class Document:
    """The values of a file; an empty file is an empty mapping.

    `lines` has the 1-based line of every key and item, `digest` is `sha256:` and the hash of the bytes.
    """

    path: Path
    data: Any
    lines: dict[KeyPath, int]
    digest: str

    def line(self, path: KeyPath) -> int:
        """The line of `path`, or of the nearest thing around it."""
        while path and path not in self.lines:
            path = path[:-1]
        return self.lines.get(path, 1)


def read_document(path: Path, *, follow_links: bool = True) -> Document:
    """Read `path`, at most 256 KiB of a regular file. Raises ConfigError.

    `follow_links=False` refuses a symbolic link: a workspace may not point its hut.yml at a file of the host.
    """
    flags = os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK | (0 if follow_links else os.O_NOFOLLOW)
    try:
        descriptor = os.open(path, flags)
    except OSError as error:
        raise _unreadable(path, error) from error
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise _broken(path, 1, "not a regular file", todo="name a file")
    with os.fdopen(descriptor, "rb") as file:
        content = file.read(SIZE_LIMIT + 1)
    return parse_document(content, path)


def parse_document(content: bytes, path: Path) -> Document:
    """The values in `content`; `path` only names it in errors. Raises ConfigError."""
    import yaml

    if len(content) > SIZE_LIMIT:
        raise _broken(path, 1, f"larger than {SIZE_LIMIT >> 10} KiB", why="such a file is not written by hand")
    try:
        text = content.decode("utf-8-sig")
        reader = _Reader(path, yaml.parse(text, Loader=yaml.SafeLoader))
        data = reader.document()
    except UnicodeDecodeError as error:
        raise _broken(path, content[: error.start].count(b"\n") + 1, "not UTF-8 text") from error
    except yaml.YAMLError as error:
        raise _no_yaml(path, text, error) from error
    except (ValueError, OverflowError) as error:  # PyYAML on an escape such as "\\UFFFFFFFF"
        raise _broken(path, 1, "not YAML: an escape names no character") from error
    return Document(path, {} if data is None else data, reader.lines, "sha256:" + hashlib.sha256(content).hexdigest())


@dataclass(slots=True)
class _Reader:
    """Turns parser events into values; one use."""

    path: Path
    events: Iterator[Any]
    lines: dict[KeyPath, int] = field(default_factory=dict)
    anchors: dict[str, tuple[Any, int]] = field(default_factory=dict)
    values: int = 0
    aliases: int = 0

    def document(self) -> Any:
        import yaml

        data = None
        documents = 0
        for event in self.events:
            if isinstance(event, yaml.DocumentStartEvent):
                documents += 1
                if documents > 1:
                    raise self.refuse(event, "a second document", "keep one document; remove the `---` line")
                data = self.value(next(self.events), ())
        return data

    def value(self, event: Any, path: KeyPath) -> Any:
        import yaml

        self.count(event, path, 1)
        self.lines.setdefault(path, _line(event))
        if isinstance(event, yaml.AliasEvent):
            return self.alias(event, path)
        if event.tag is not None:
            raise self.refuse(event, f"the tag {event.tag[:40]!r}", "write plain values without tags")
        before = self.values
        if isinstance(event, yaml.MappingStartEvent):
            value: Any = self.mapping(path)
        elif isinstance(event, yaml.SequenceStartEvent):
            value = self.sequence(path)
        elif _SURROGATE.search(event.value):
            raise self.refuse(event, "half a surrogate pair", "write the character itself")
        else:
            value = _scalar(event.value) if event.implicit[0] else event.value
        if event.anchor:
            self.anchors[event.anchor] = (value, self.values - before)
        return value

    def mapping(self, path: KeyPath) -> dict[str, Any]:
        import yaml

        found: dict[str, Any] = {}
        while not isinstance(event := next(self.events), yaml.MappingEndEvent):
            if not isinstance(event, yaml.ScalarEvent):
                raise self.refuse(event, "a key that is not text", "write a name before the colon")
            key = event.value
            if key == "<<":
                raise self.refuse(event, "the merge key `<<`", "write the keys out")
            if key in found:
                why = "the second one would silently replace the first"
                raise self.refuse(event, f"the key {printable(key)} twice", "keep one of the two", why=why)
            self.lines[(*path, key)] = _line(event)
            found[key] = self.value(next(self.events), (*path, key))
        return found

    def sequence(self, path: KeyPath) -> list[Any]:
        import yaml

        items: list[Any] = []
        while not isinstance(event := next(self.events), yaml.SequenceEndEvent):
            items.append(self.value(event, (*path, len(items))))
        return items

    def alias(self, event: Any, path: KeyPath) -> Any:
        self.aliases += 1
        if self.aliases > ALIAS_LIMIT:
            raise self.refuse(event, f"more than {ALIAS_LIMIT} aliases", "write the values out")
        if event.anchor not in self.anchors:
            raise self.refuse(event, f"an alias without its anchor: {printable(event.anchor)}", "write the values out")
        value, weight = self.anchors[event.anchor]
        self.count(event, path, weight)
        return value

    def count(self, event: Any, path: KeyPath, weight: int) -> None:
        self.values += weight
        if self.values > VALUE_LIMIT:
            raise self.refuse(event, f"more than {VALUE_LIMIT} values", "shorten the file")
        if len(path) > DEPTH_LIMIT:
            raise self.refuse(event, f"nested deeper than {DEPTH_LIMIT} levels", "flatten it")

    def refuse(self, event: Any, what: str, todo: str, *, why: str = "only plain values are read") -> ConfigError:
        return _broken(self.path, _line(event), f"{what} is not accepted", why=why, todo=todo)


def printable(text: str, limit: int = 60) -> str:
    """`text` for an error message: control characters escaped, cut to `limit` characters."""
    shown = "".join(character if character.isprintable() else repr(character)[1:-1] for character in text[:limit])
    return f"{shown}…" if len(text) > limit else shown


def _line(event: Any) -> int:
    line: int = event.start_mark.line + 1
    return line


def _scalar(text: str) -> Any:
    if text in _WORDS:
        return _WORDS[text]
    if _INTEGER.match(text):
        return int(text)
    if _HEXADECIMAL.match(text):
        return int(text, 16)
    return Fraction(text) if _FRACTION.match(text) else text


def _unreadable(path: Path, error: OSError) -> ConfigError:
    if error.errno == errno.ELOOP:
        return _broken(
            path, 1, "is a symbolic link", why="it could point at a file of the host", todo="commit the file"
        )
    todo = "check the name" if error.errno == errno.ENOENT else "check its owner and mode"
    if error.errno == errno.EACCES and (group := _readers(path)):
        todo = f"it is for the group {group}: `sudo usermod -aG {group} $USER`, then log in again"
    return ConfigError(f"{path}: cannot be read: {error.strerror}", why="the file is missing or private", todo=todo)


def _readers(path: Path) -> str | None:
    """The group whose members may read the file, which the lab.yml of `hut-ci watch install` has."""
    with suppress(OSError, KeyError):
        found = path.stat()
        if found.st_mode & stat.S_IRGRP and found.st_gid != 0:
            return grp.getgrgid(found.st_gid).gr_name
    return None


def _no_yaml(path: Path, text: str, error: Any) -> ConfigError:
    """What PyYAML says, with its line; a tab, which many editors put there by themselves, in words of our own."""
    mark = getattr(error, "problem_mark", None)
    said = getattr(error, "problem", None) or getattr(error, "reason", None) or "unreadable"
    line = mark.line + 1 if mark else 1
    if mark is None or text[mark.index : mark.index + 1] != "\t":
        return _broken(path, line, f"not YAML: {said}", why="often a missing quote, bracket or indentation")
    indented = not text[mark.index - mark.column : mark.index].strip()
    return _broken(
        path,
        line,
        "not YAML: a tab" + (" in the indentation" if indented else ""),
        why="YAML is indented with spaces, not tabs",
        todo="replace the tab with spaces",
    )


def _broken(
    path: Path, line: int, what: str, *, why: str = "only plain values are read", todo: str = "correct this line"
) -> ConfigError:
    return ConfigError(f"{path.name}:{line}: {what}", why=why, todo=todo)
