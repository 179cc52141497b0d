"""What must not leave the lab host is replaced: in texts, documents, raw serial bytes and files.

Patterns are RE2: linear in the text, whatever an operator writes and a board prints. Everything is matched
as bytes (Latin-1), because a serial log is bytes and `.` has to match those that are no UTF-8 too.
"""

from __future__ import annotations

import os
from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import quote

import re2

from hut_ci.errors import ConfigError
from hut_ci.reports.atomic import Replacement

REPLACEMENT = "[redacted]"
PATTERN_PREFIX = "re:"
CHUNK = 1 << 20
# A match longer than this may be cut at a chunk's border; chunks end at a line's end where they can.
LONGEST_MATCH = 64 << 10
# Matches this close to the end of what was read wait for more bytes, up to this much in memory.
MOST_HELD = 4 * CHUNK

BUILT_IN = (
    r"\b(?:10(?:\.\d{1,3}){3}|192\.168(?:\.\d{1,3}){2}|172\.(?:1[6-9]|2\d|3[01])(?:\.\d{1,3}){2}"
    r"|169\.254(?:\.\d{1,3}){2})\b",  # RFC 1918 and RFC 3927
    r"(?i)\b(?:fe80|f[cd][0-9a-f]{2}):(?::?[0-9a-f]{1,4}){1,7}\b",  # RFC 4291 link-local, RFC 4193 unique local
    r"[A-Za-z0-9._%+-]+@[A-Za-z0-9-]+(?:\.[A-Za-z0-9-]+)*\.[A-Za-z]{2,}\b",  # e-mail, and SSIDs that look like one
    r"\beyJ[\w-]{8,}\.[\w-]{8,}\.[\w-]{8,}",  # a JSON web token: Home Assistant's long-lived tokens are these
    r"\b(?:gh[pousr]_\w{20,}|github_pat_\w{20,}|gl[a-z]{2,6}-[\w-]{20,})",  # GitHub's and GitLab's token prefixes
    r"-----BEGIN [A-Z ]*PRIVATE KEY-----[A-Za-z0-9+/=\s]*(?:-----END [A-Z ]*PRIVATE KEY-----)?",
)


class Redactor:
    """Replaces what `patterns` (lab.yml `redact:`) and `secrets` name; neither shows in its `repr`.

    A pattern is a literal string, or RE2 after `re:`. Secrets are literal, and found URL-quoted too.
    Raises ConfigError for a pattern that RE2 does not accept.
    """

    __slots__ = ("_count", "_pattern")

    def __init__(
        self, patterns: Sequence[str] = (), secrets: Sequence[str] = (), *, built_in: Sequence[str] = BUILT_IN
    ) -> None:
        literals = {entry for entry in patterns if entry and not entry.startswith(PATTERN_PREFIX)}
        for secret in filter(None, secrets):
            literals |= {secret, quote(secret, safe="")}
        given = [entry[len(PATTERN_PREFIX) :] for entry in patterns if entry.startswith(PATTERN_PREFIX)]
        for pattern in given:
            _compile(pattern.encode("utf-8", "surrogatepass"), shown=pattern)
        # Longest first: of two literals that start alike, the longer one must not leave its tail behind.
        words = [re2.escape(word.encode("utf-8", "surrogatepass")) for word in sorted(literals, key=len, reverse=True)]
        rules = [pattern.encode("utf-8", "surrogatepass") for pattern in (*given, *built_in)]
        self._count = len(words) + len(given)
        self._pattern = _compile(b"|".join([*words, *(b"(?:" + rule + b")" for rule in rules)]), shown="all together")

    def __repr__(self) -> str:
        return f"Redactor({self._count} entries)"

    def text(self, text: str) -> str:
        """`text` with every match replaced by `[redacted]`."""
        raw = text.encode("utf-8", "surrogatepass")
        redacted = self.raw(raw)
        return text if redacted == raw else redacted.decode("utf-8", "replace")

    def raw(self, data: bytes) -> bytes:
        """The same for bytes as they came from a serial line."""
        return b"".join(self._pieces(data, len(data), last=True)[0])

    def document(self, value: Any, keep: Collection[str] = (), parent: str = "") -> Any:
        """A JSON value with every string in it redacted; keys stay.

        A string under a key that `keep` names stays too: `key`, or `parent.key` (through lists as well).
        """
        if isinstance(value, str):
            return self.text(value)
        if isinstance(value, Mapping):
            kept = {key for key in value if key in keep or f"{parent}.{key}" in keep}
            return {
                key: entry if key in kept and isinstance(entry, str) else self.document(entry, keep, key)
                for key, entry in value.items()
            }
        if isinstance(value, list | tuple):
            return [self.document(entry, keep, parent) for entry in value]
        return value

    def redact_file(self, path: Path) -> None:
        """Redact a file in place, by write-and-rename; memory stays bounded."""
        self.copy_file(path, path)

    def copy_file(self, source: Path, target: Path) -> None:
        """Write the redacted content of `source` to `target`, by write-and-rename."""
        descriptor = os.open(source, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
        with os.fdopen(descriptor, "rb") as reader, Replacement(target) as writer:
            for piece in self._stream(iter(lambda: reader.read(CHUNK), b"")):
                writer.write(piece)

    def _stream(self, chunks: Iterator[bytes]) -> Iterator[bytes]:
        held = b""
        for chunk in chunks:
            held += chunk
            limit = len(held) - LONGEST_MATCH
            if limit <= 0:
                continue
            pieces, done = self._pieces(held, limit, last=len(held) > MOST_HELD)
            yield from pieces
            held = held[done:]
        yield from self._pieces(held, len(held), last=True)[0]

    def _pieces(self, data: bytes, limit: int, *, last: bool) -> tuple[list[bytes], int]:
        """The redacted pieces of `data` up to about `limit`, and how many bytes of `data` they stand for.

        Without `last`, a match that reaches beyond `limit` is left for the next call, which may see it whole.
        """
        end = len(data) if last else _line_end(data, limit)
        pieces: list[bytes] = []
        position = 0
        for match in self._pattern.finditer(data):
            start, stop = match.span()
            if start >= end:
                break
            if stop > end:
                end = start
                break
            if stop > start:
                pieces += [data[position:start], REPLACEMENT.encode()]
                position = stop
        pieces.append(data[position:end])
        return pieces, end


def _line_end(data: bytes, limit: int) -> int:
    newline = data.rfind(b"\n", 0, limit)
    return newline + 1 if newline >= 0 else limit


def _compile(pattern: bytes, *, shown: str) -> Any:
    options = re2.Options()
    options.log_errors = False
    options.encoding = re2.Options.Encoding.LATIN1
    try:
        return re2.compile(pattern, options)
    except re2.error as error:
        raise ConfigError(
            f"`redact:` holds a pattern that cannot be used: {shown}",
            why=f"RE2 says: {error.args[0] if error.args else error}",
            todo="Use RE2 syntax after `re:` (no look-around, no back-references), or a literal string without `re:`.",
        ) from error
