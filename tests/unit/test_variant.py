"""Which variant a run is about, and what to do where none can be chosen."""

from __future__ import annotations

from pathlib import Path

import pytest

from hut_ci.errors import UsageError
from hut_ci.model import Project, Variant
from hut_ci.stages.variant import choose_variant

TWO = Project(variants=(Variant("i2s-4m"), Variant("spdif-8m")), path=Path("hut.yml"))


def test_the_only_one_needs_no_name() -> None:
    assert choose_variant(Project(), None).name == "default"
    assert choose_variant(TWO, "spdif-8m").name == "spdif-8m"


def test_one_of_several_has_to_be_named() -> None:
    with pytest.raises(UsageError, match="2 variants: i2s-4m, spdif-8m") as refused:
        choose_variant(TWO, None)
    assert refused.value.todo == "add `--variant i2s-4m`"


def test_a_misspelt_one() -> None:
    with pytest.raises(UsageError, match=r"hut\.yml has no variant 'i2s-4'") as refused:
        choose_variant(TWO, "i2s-4")
    assert refused.value.todo == "did you mean `--variant i2s-4m`?"


def test_without_a_project_file_the_missing_file_is_the_news() -> None:
    with pytest.raises(UsageError, match=r"^there is no hut\.yml that could name a variant 'foo'$") as refused:
        choose_variant(Project(), "foo")
    assert "--hut" in refused.value.todo
    assert "working directory" in refused.value.why
