"""Every link of a page leads to a file that is there and to a heading that it has; every page can be reached."""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGES = sorted({*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md"), *(ROOT / "examples").rglob("*.md")})
LINK = re.compile(r"(?<!!)\[[^\]]*\]\(([^)\s]+)\)|!\[[^\]]*\]\(([^)\s]+)\)")
REFERENCE = re.compile(r"^\[[^\]]+\]:\s*(\S+)", re.M)


def prose(text: str) -> str:
    """A page without its code, where brackets mean something else."""
    text = re.sub(r"^(```+).*?^\1", "", text, flags=re.S | re.M)
    return re.sub(r"`[^`\n]*`", "`code`", text)


def links(text: str) -> list[str]:
    found = [a or b for a, b in LINK.findall(prose(text))] + REFERENCE.findall(prose(text))
    return [link for link in found if not re.match(r"[a-z]+:", link)]


def anchors(text: str) -> set[str]:
    """What GitHub and GitLab call headings: lower case, no punctuation, hyphens for blanks, -1 for a second one."""
    seen: Counter[str] = Counter()
    found = set()
    for heading in re.findall(r"^#{1,6} +(.+?) *#*$", re.sub(r"^(```+).*?^\1", "", text, flags=re.S | re.M), re.M):
        shown = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", heading)
        name = re.sub(r"[^\w\- ]", "", shown.lower()).replace(" ", "-")
        found.add(f"{name}-{seen[name]}" if seen[name] else name)
        seen[name] += 1
    return found


def broken(page: Path, text: str) -> list[str]:
    """The links of `text`, standing at `page`, that lead nowhere or out of the project."""
    return [link for link in links(text) if not leads_somewhere(link, page, text)]


def leads_somewhere(link: str, page: Path, text: str) -> bool:
    name, _, anchor = link.partition("#")
    if not name:
        return anchor in anchors(text)
    target = (page.parent / name).resolve()
    if not target.is_relative_to(ROOT) or not target.exists():
        return False
    return not anchor or anchor in anchors(target.read_text("utf-8"))


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_link_leads_somewhere(page: Path) -> None:
    assert broken(page, page.read_text("utf-8")) == []


def test_a_link_that_leads_nowhere_is_found() -> None:
    text = "# One thing\n[a](docs/none.md) [b](#one-thing) [c](#two) [d](README.md#exit-codes) [e](../../etc/passwd)"
    text += "\n`[f](none)`\n```\n[g](none)\n```\n[h](https://example.org/none) ![i](none.svg)\n[j]: docs/nothing.md\n"
    wrong = ["docs/none.md", "#two", "../../etc/passwd", "none.svg", "docs/nothing.md"]
    assert broken(ROOT / "PAGE.md", text) == wrong


def test_headings_have_the_names_that_the_forges_give_them() -> None:
    text = "# What's `hut.yml`?\n## A, B\n## A, B\n```\n# no heading\n```\n### [Link](x.md) too\n"
    assert anchors(text) == {"whats-hutyml", "a-b", "a-b-1", "link-too"}


def test_every_page_can_be_reached_from_the_readme() -> None:
    seen: set[Path] = set()
    next_pages = [ROOT / "README.md"]
    while next_pages:
        page = next_pages.pop()
        if page in seen:
            continue
        seen.add(page)
        targets = [(page.parent / link.partition("#")[0]).resolve() for link in links(page.read_text("utf-8"))]
        next_pages += [target for target in targets if target.suffix == ".md" and target.exists()]
        next_pages += [found for target in targets if target.is_dir() for found in target.rglob("*.md")]
    assert set(PAGES) - seen == set()
