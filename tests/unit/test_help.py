"""Every `--help` teaches by an example that names a real command."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator

import click
import pytest

from hut_ci.cli import hut_ci

WIDTH = 100


def commands(group: click.Group, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], click.Command]]:
    for name in group.list_commands(click.Context(group)):
        command = group.get_command(click.Context(group), name)
        assert command is not None
        yield (*path, name), command
        if isinstance(command, click.Group):
            yield from commands(command, (*path, name))


ALL = dict(commands(hut_ci))


def help_of(path: tuple[str, ...], command: click.Command) -> str:
    with click.Context(command, info_name=" ".join(("hut-ci", *path)), max_content_width=WIDTH) as context:
        return command.get_help(context)


@pytest.mark.parametrize("path", ALL, ids=" ".join)
def test_help_shows_an_example(path: tuple[str, ...]) -> None:
    text = help_of(path, ALL[path])
    examples = re.findall(r"^ +hut-ci (.+?)(?:   .*)?$", text, re.M)
    assert any(tuple(shlex.split(example)[: len(path)]) == path for example in examples), text
    assert "\b" not in text


@pytest.mark.parametrize("path", ALL, ids=" ".join)
def test_every_option_is_described(path: tuple[str, ...]) -> None:
    for parameter in ALL[path].params:
        assert isinstance(parameter, click.Argument) or getattr(parameter, "help", None), parameter.name


@pytest.mark.parametrize("path", ALL, ids=" ".join)
def test_examples_use_options_that_exist(path: tuple[str, ...]) -> None:
    """An example that does not parse teaches the wrong thing; values and operands are not judged here."""
    for example in re.findall(r"^ +hut-ci (.+?)(?:   .*)?$", help_of(path, ALL[path]), re.M):
        words = shlex.split(example.replace("$(", "'").replace(")", "'"), comments=True)
        words = words[: words.index("--")] if "--" in words else words  # the rest is another program's
        named = next((p for p in (tuple(words[:2]), tuple(words[:1])) if p in ALL), None)
        assert named is not None, f"no such command: hut-ci {example}"
        known = {name for parameter in ALL[named].params for name in parameter.opts} | {"--help", "--version"}
        used = {word.split("=")[0] for word in words if word.startswith("--")}
        assert used <= known, f"hut-ci {example}"
