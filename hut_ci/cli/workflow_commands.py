"""What a job on GitHub gets besides the log: values for later steps. Nothing anywhere else."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path


def give_outputs(values: Mapping[str, str]) -> None:
    """Make each value an output of this step, between random delimiters: a text from outside can forge no other.

    Raises UsageError where the runner's file is not there.
    """
    target = os.environ.get("GITHUB_OUTPUT")
    if os.environ.get("GITHUB_ACTIONS") != "true" or not target:
        return
    from actions_toolkit import core  # type: ignore[import-untyped]  # it carries no types

    from hut_ci.errors import UsageError
    from hut_ci.reports.escaping import valid_text

    if not Path(target).is_file():
        raise UsageError(f"$GITHUB_OUTPUT names no file: {target}", todo="it is the runner's: do not set it")
    for name, value in values.items():
        core.set_output(name, valid_text(value))
