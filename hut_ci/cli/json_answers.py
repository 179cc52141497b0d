"""With `--json` a command prints exactly one JSON document on standard output, also when it fails.

What it is when a command fails before it had anything to say stands in docs/slots-and-power.md: `error`, `why`,
`advice` and `exit_code`. People read the same on standard error.
"""

from __future__ import annotations

import functools
import json
from typing import Any

import click

from hut_ci.errors import Cancelled, HutCiError

_GIVEN = "hut_ci.json_answer"


def give(document: object) -> None:
    """Print the command's answer; an error that follows adds none."""
    from hut_ci.reports.escaping import ci_log_json

    click.get_current_context().meta[_GIVEN] = True
    click.echo(ci_log_json(json.dumps(document, indent=2)))


def tell_errors_in_json(command: click.Command) -> None:
    """Let `command` and its members answer their errors to a program where `--json` is given."""
    for member in getattr(command, "commands", {}).values():
        tell_errors_in_json(member)
    if command.callback is not None and any(parameter.name == "as_json" for parameter in command.params):
        command.callback = _telling(command.callback)


def error_document(error: HutCiError) -> dict[str, str | int]:
    """What a program is told of `error`."""
    code = 128 + error.signal_number if isinstance(error, Cancelled) else error.exit_code
    return {"error": error.what, "why": error.why, "advice": error.todo, "exit_code": code}


def _telling(callback: Any) -> Any:
    @functools.wraps(callback)
    def answer_or_tell(*args: Any, **options: Any) -> Any:
        try:
            return callback(*args, **options)
        except HutCiError as error:
            if options["as_json"] and _GIVEN not in click.get_current_context().meta:
                give(error_document(error))
            raise

    return answer_or_tell
