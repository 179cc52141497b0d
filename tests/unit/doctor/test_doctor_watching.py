"""What the doctor says of the repositories that a lab watches."""

from __future__ import annotations

from pathlib import Path

import pytest

from hut_ci.config import lab_from_text
from hut_ci.doctor.watching import watching
from hut_ci.virtual.app_script import Log, Script
from hut_ci.virtual.images import build_folder


@pytest.mark.parametrize("there", [True, False])
def test_a_baseline_that_cannot_be_written_is_found_before_a_run_needs_it(tmp_path: Path, there: bool) -> None:
    folder = tmp_path / "baseline"
    if there:
        build_folder(folder, script=Script((Log("ready"),)))
    text = f'slots: {{}}\nprojects: {{"github:acme/firmware": {{baseline: {folder}}}, "github:acme/other": {{}}}}\n'
    [found] = watching(lab_from_text(text, tmp_path / "lab.yml", {}))
    assert found.sign == ("ok" if there else "missing")
    assert found.what.startswith(f"github:acme/firmware: {folder}" if there else "github:acme/firmware: its baseline: ")
    assert bool(found.remedy) is not there
