"""What a CI job gives in its environment is what a person types as options."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click
import pytest
from click.testing import CliRunner

from hut_ci.cli import hut_ci


def parsed(path: list[str], environ: dict[str, str], words: list[str]) -> dict[str, Any]:
    """The values that the command `path` gets for `words` and the environment."""
    context = hut_ci.make_context("hut-ci", [*path, *words])
    with CliRunner(env=environ).isolation():
        for name in path:
            group = context.command
            assert isinstance(group, click.Group)
            command = group.get_command(context, name)
            assert command is not None
            rest = [*path[path.index(name) + 1 :], *words] if isinstance(command, click.Group) else words
            context = command.make_context(name, list(rest), parent=context)
    return context.params


@pytest.mark.parametrize(
    ("path", "environ", "expected"),
    [
        ("run", {"HUT_CI_RUN_BUILD": "my build/"}, {"build": Path("my build/")}),
        ("run", {"HUT_CI_RUN_SLOT": "hut-01 hut-02"}, {"slots": ("hut-01", "hut-02")}),
        ("run", {"HUT_CI_RUN_PULL_REQUEST": "12", "HUT_CI_RUN_LIMIT": "90"}, {"pull_request": 12, "limit": 90.0}),
        ("run", {"HUT_CI_RUN_ALLOW_FORK": "true", "HUT_CI_RUN_CHECK_RUN": "false"}, {"allow_fork": True}),
        ("run", {"HUT_CI_RUN_CONTEXT": "$(id); `id` {slot}"}, {"context": "$(id); `id` {slot}"}),
        ("report publish", {"HUT_CI_REPORT_PUBLISH_COMMENT": "never"}, {"comment": "never"}),
        (
            "report publish",
            {"HUT_CI_REPORT_PUBLISH_REPORTS": "all reports:other"},
            {"reports": (Path("all reports"), Path("other"))},
        ),
    ],
)
def test_an_option_in_the_environment(path: str, environ: dict[str, str], expected: dict[str, Any]) -> None:
    assert parsed(path.split(), environ, []).items() >= expected.items()


def test_an_empty_variable_is_none_and_a_typed_option_counts() -> None:
    empty = dict.fromkeys(("BUILD", "SLOT", "PULL_REQUEST", "ALLOW_FORK", "LIMIT", "WAIT", "COMMENT"), "")
    environ = {f"HUT_CI_RUN_{name}": value for name, value in empty.items()}
    assert parsed(["run"], environ, []) == parsed(["run"], {}, [])
    typed = parsed(["run"], {"HUT_CI_RUN_SLOT": "hut-02"}, ["--slot", "hut-01"])
    assert typed["slots"] == ("hut-01",)


def test_nonsense_in_the_environment_is_a_usage_error_that_names_it() -> None:
    with pytest.raises(click.BadParameter, match="not-a-number"):
        parsed(["run"], {"HUT_CI_RUN_PULL_REQUEST": "not-a-number"}, [])
