"""Text as a forge's reader, or a runner that looks for commands, takes it."""

from __future__ import annotations

import re
from html.parser import HTMLParser

from markdown_it import MarkdownIt

# What a forge would link or notify after rendering.
ALIVE = re.compile(r"(?i)[@#!~%^$]\w|&\d|://|www\.|\bgh-\d|:[\w+-]+:")


class Reader(HTMLParser):
    """The tags of rendered Markdown, its whole text, and the text outside of code."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.text = ""
        self.prose = ""
        self._code = 0
        self.feed(html)

    def handle_starttag(self, tag: str, _attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self._code += tag == "code"

    def handle_endtag(self, tag: str) -> None:
        self._code -= tag == "code"

    def handle_data(self, data: str) -> None:
        self.text += data
        if not self._code:
            self.prose += data

    def handle_comment(self, _data: str) -> None:
        self.tags.append("!--")


def rendered(markdown: str) -> Reader:
    return Reader(MarkdownIt("commonmark").enable(["table", "strikethrough"]).render(markdown))


def is_command(line: str) -> bool:
    """As actions/runner's ActionCommand and GitLab's log view read a line."""
    return bool(
        line.strip().startswith("::")
        or "##[" in line
        or "##vso[" in line
        or re.search(r"section_(start|end):", line)
        or "\x1b" in line
    )
