"""The command line: one small file per command group, loaded only when it is used."""

from __future__ import annotations

import difflib
import importlib
from pathlib import Path
from typing import Any

import click

from hut_ci import __version__
from hut_ci.cli.json_answers import tell_errors_in_json
from hut_ci.cli.lanes import keep_to_lane, lane

# command → (module under hut_ci.cli, its line in `hut-ci --help`)
COMMANDS = {
    "run": ("run", "Flash a build on a slot, test it, recover the board, report."),
    "demo": ("demo", "Watch the whole path on four virtual boards, in under a minute."),
    "slots": ("slots", "Add, list, hold and check the boards of this lab."),
    "monitor": ("monitor", "Hold a slot and watch its console."),
    "resolve": ("resolve", "Find, prove and fetch the artifact of exactly one commit; needs no lab."),
    "firmware": ("firmware", "Look at a build: what would be written where."),
    "learn": ("learn", "Boot a build three times and propose what to expect of it."),
    "power": ("power", "Switch or test a slot's power (claims the slot first)."),
    "report": ("report", "Validate, convert and publish the report of a run."),
    "gate": ("gate", "Decide whether an event of the forge starts a run, and ask for it."),
    "watch": ("watch", "Ask the forges for what there is to test, and test it: no runner, nothing listens."),
    "lab": ("lab", "Send a lab that polls away, and bring it back."),
    "runner-hook": ("runner_hook", "Refuse a runner's job that is not on this host's allow-list."),
    "doctor": ("doctor", "Test what a lab or a CI job needs, changing nothing."),
    "virtual-lab": ("virtual_lab", "Keep virtual boards running to try builds and lab failures on."),
}


class LazyGroup(click.Group):
    """A group whose commands are imported when they are called, so that `--version` stays light."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 (click's signature)
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002
        if cmd_name not in COMMANDS:
            return None
        module = importlib.import_module(f"hut_ci.cli.{COMMANDS[cmd_name][0]}")
        command: click.Command = module.command
        give_variables(command, f"HUT_CI_{cmd_name}")
        keep_to_lane(command, cmd_name)
        tell_errors_in_json(command)
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        near = difflib.get_close_matches(args[0], COMMANDS, 1)
        if args[0] not in COMMANDS and near:
            ctx.fail(f"No such command '{args[0]}'. Did you mean '{near[0]}'?")
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002
        with formatter.section("Commands"):
            formatter.write_dl([(name, text) for name, (_, text) in COMMANDS.items()])


def give_variables(command: click.Command, path: str) -> None:
    """Let the environment give each option: `hut-ci run --slot` is `$HUT_CI_RUN_SLOT`; empty counts as not given."""
    for parameter in command.params:
        if isinstance(parameter, click.Option):
            first = next(name for name in parameter.opts if name.startswith("--"))
            parameter.envvar = f"{path}_{first.lstrip('-')}".replace("-", "_").upper()
    for name, member in getattr(command, "commands", {}).items():
        give_variables(member, f"{path}_{name}")


@click.group(cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(__version__, prog_name="hut-ci")
def hut_ci() -> None:
    """Real boards in CI: flash exactly one commit's build on a claimed board, test it, report.

    \b
    Try it without hardware:
      hut-ci demo
    With a board on this machine:
      hut-ci slots add
      hut-ci run build/

    Each option can be given in the environment, too, as CI jobs do: `hut-ci run --slot` is
    $HUT_CI_RUN_SLOT, `hut-ci report publish --comment` is $HUT_CI_REPORT_PUBLISH_COMMENT.

    Exit codes: 0 pass, 1 the firmware failed, 2 usage or configuration, 3 no artifact, 4 no slot,
    5 flash failed, 6 board silent or gone, 7 power failed, 8 report not published, 9 refused,
    70 a bug in hut-ci, 129/130/143 cancelled.
    """
    lane()
    try:
        Path.cwd()
    except FileNotFoundError as error:
        from hut_ci.errors import UsageError

        raise UsageError("the working directory was deleted", todo="change into one that exists") from error


def call(argv: list[str] | None = None, **kwargs: Any) -> Any:
    """Run the command line without exiting; errors come out as exceptions."""
    return hut_ci.main(args=argv, prog_name="hut-ci", standalone_mode=False, **kwargs)
