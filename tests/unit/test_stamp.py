"""release/stamp.py: examples that name a release, and nothing that names none."""

from __future__ import annotations

import re
import runpy
from pathlib import Path
from types import SimpleNamespace

import pytest

from hut_ci import __version__

ROOT = Path(__file__).parents[2]
STAMP = SimpleNamespace(**runpy.run_path(str(ROOT / "release" / "stamp.py")))
SHA = "5e" * 20


def test_each_reference_names_the_release(tmp_path: Path) -> None:
    STAMP.stamp_examples(tmp_path / "examples", SHA, "1.2.3")
    texts = [path.read_text("utf-8") for path in (tmp_path / "examples").rglob("*.yml")]
    found = [line for text in texts for line in re.findall(r"(?:uses|component): .*hut-ci/hut_ci.*", text)]
    assert len(found) > 8
    for line in found:
        assert line.endswith((f"@{SHA} # v1.2.3", "@1.2.3")), line
    assert not [text for text in texts if re.search(r"hut_ci\S*@COMMIT|@0\.0\.0|uses: \$/", text)]


def test_the_reusable_workflows_can_lie_in_another_repository(tmp_path: Path) -> None:
    STAMP.stamp_examples(tmp_path / "examples", SHA, "1.2.3")
    text = (tmp_path / "examples" / "workflows" / "hil.yml").read_text("utf-8")
    assert f"uses: hut-ci/hut_ci@{SHA} # v1.2.3\n" in text
    assert f"uses: hut-ci/hut_ci/.github/actions/gate@{SHA} # v1.2.3\n" in text


def test_what_a_person_writes_after_an_at_sign_stays() -> None:
    assert STAMP.stamped("`/hil @COMMIT`", SHA, "1.2.3") == "`/hil @COMMIT`"


@pytest.mark.parametrize("commit", ["main", SHA[:12], SHA.upper(), f"{SHA}\n", ""])
def test_only_a_full_commit_id_is_stamped(commit: str) -> None:
    with pytest.raises(ValueError, match="no full commit id"):
        STAMP.stamped("", commit, "1.2.3")


@pytest.mark.parametrize("tag", ["v9.9.9", __version__, f"v{__version__}-rc1", ""])
def test_the_tag_has_to_be_that_of_the_source(tag: str) -> None:
    with pytest.raises(ValueError, match="is not v"):
        STAMP.version_of(tag)
    assert STAMP.version_of(f"v{__version__}") == __version__


def test_the_notes_are_the_changelogs() -> None:
    changelog = (
        "# Changelog\n\n## [Unreleased]\n\n## [1.2.3] - 2026-11-26\n\n- It works.\n\n## [1.2.2]\n\n- It did not.\n"
    )
    assert STAMP.changes_of("1.2.3", changelog) == "- It works."
    with pytest.raises(ValueError, match=r"no section \[1\.2\.4\]"):
        STAMP.changes_of("1.2.4", changelog)
