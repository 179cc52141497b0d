"""`hut-ci report`: validate, convert and publish the report of a run."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from hut_ci.cli.json_answers import give
from hut_ci.cli.report_publish import publish, sweep
from hut_ci.errors import ConfigError

FORMATS = ("markdown", "junit", "status", "text")


@click.group()
def command() -> None:
    """Validate, convert and publish the report of a run.

    \b
    Examples:
      hut-ci report show out/report.json
      hut-ci report publish out/ --publish github:acme/firmware
    """


command.add_command(publish)
command.add_command(sweep)


@command.command(short_help="Check FILE against the schemas; exit code 2 if it is not valid.")
@click.argument("file", type=click.Path(path_type=Path))
@click.option("--json", "as_json", is_flag=True, help="Print the problems as a JSON list.")
def validate(file: Path, as_json: bool) -> None:
    """Check FILE against ws2.report.v1 and hut.hardware.v1; exit code 2 if it is not valid.

    \b
    Example:
      hut-ci report validate out/report.json
    """
    from hut_ci.reports.json_document import problems, read

    file = _report_in(file)
    found = problems(read(file))
    if as_json:
        give(found)
    if found:
        raise _invalid(file, found)
    if not as_json:
        click.echo(f"{file} is a valid report")


@command.command(short_help="Print FILE as Markdown, JUnit XML, status line or text.")
@click.argument("file", type=click.Path(path_type=Path))
@click.option("--format", "form", type=click.Choice(FORMATS), default="text", help="Default: text.")
@click.option("--limit", type=click.IntRange(20), default=140, help="Characters of the status text. Default: 140.")
def show(file: Path, form: str, limit: int) -> None:
    """Print FILE (or FILE/report.json) as Markdown, JUnit XML, the status line, or text for a terminal or CI log.

    \b
    Examples:
      hut-ci report show hut-ci-out/demo/hut-03
      hut-ci report show out/report.json --format markdown >> "$GITHUB_STEP_SUMMARY"
    """
    from hut_ci.reports.json_document import problems, read

    file = _report_in(file)
    document = read(file)
    if found := problems(document):
        raise _invalid(file, found)
    from hut_ci.reports.escaping import ci_log

    text = _converted(document, form, limit, file)
    click.echo(ci_log(text) if form in ("status", "text") else text, nl=False)


def _report_in(path: Path) -> Path:
    """The file itself, or the report of a folder that `hut-ci run --out` wrote."""
    return path / "report.json" if path.is_dir() else path


def _converted(document: Any, form: str, limit: int, file: Path) -> str:
    from hut_ci.reports.junit import junit
    from hut_ci.reports.markdown import markdown
    from hut_ci.reports.status_text import status_text
    from hut_ci.reports.text import text

    if form == "status":
        return status_text(document, limit) + "\n"
    if "hardware" not in document and form != "text":
        raise ConfigError(
            f"{file} cannot be shown as {form}",
            why="it has no block `hardware`: no board was part of that job",
            todo="Use --format status or --format text.",
        )
    return {"markdown": markdown, "junit": junit, "text": text}[form](document)


def _invalid(file: Path, found: list[str]) -> ConfigError:
    from hut_ci.reports.escaping import cut, plain

    shown = "; ".join(cut(plain(problem), 160) for problem in found[:5])
    return ConfigError(
        f"{file} is not a valid report: {len(found)} problem{'s' if len(found) > 1 else ''}",
        why=shown,
        todo="Compare it with the schemas ws2.report.v1 and hut.hardware.v1.",
    )
