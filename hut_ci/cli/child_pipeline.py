"""`hut-ci gate --child-pipeline`: the GitLab pipeline that answers a request, and how its jobs are carried."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from hut_ci.model import Request

OPTIONS = (
    click.option("--child-pipeline", type=click.Path(path_type=Path), help="Write the GitLab child pipeline here."),
    click.option("--child-image", default="", metavar="IMAGE", help="Image of the child's job that publishes."),
    click.option("--child-install", default="", metavar="PACKAGE", help="What that job has pip install."),
    click.option(
        "--child-environment", default="hardware", show_default=True, metavar="NAME", help="Environment of that job."
    ),
    click.option(
        "--child-limit",
        type=click.FloatRange(1, 86400),
        default=1800.0,
        show_default=True,
        metavar="SECONDS",
        help="Time limit of each run in the child.",
    ),
)


def child_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add `--child-pipeline` and what belongs to it to a command."""
    for option in reversed(OPTIONS):
        command = option(command)
    return command


def write_child(
    request: Request | None, document: Mapping[str, Any] | None, options: Mapping[str, Any], environ: Mapping[str, str]
) -> None:
    """Write the file of `--child-pipeline`, if there is to be one; without a request, one that does nothing.

    Raises ConfigError for a name that no job can have.
    """
    if options["child_pipeline"] is None:
        return
    from hut_ci.reports.child_pipeline import Carrier, child_pipeline

    carrier = Carrier(
        image=options["child_image"],
        install=options["child_install"],
        environment=options["child_environment"],
        limit=options["child_limit"],
        tags=runner_tags(environ.get("CI_RUNNER_TAGS", "")),
    )
    options["child_pipeline"].write_text(child_pipeline(request, document, carrier), "utf-8")


def runner_tags(text: str) -> tuple[str, ...]:
    """The tags of the runner that we run on, as GitLab tells them: a JSON list. What is no list is none."""
    try:
        tags = json.loads(text)
    except ValueError:
        return ()
    return tuple(tag for tag in tags if isinstance(tag, str)) if isinstance(tags, list) else ()
