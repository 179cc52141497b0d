"""`hut-ci gate --child-pipeline`: the GitLab pipeline that answers a request, and how its jobs are carried."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from hut_ci.model import Request


def write_child(
    request: Request | None, document: Mapping[str, Any] | None, options: Mapping[str, Any], environ: Mapping[str, str]
) -> None:
    """Write the file of `--child-pipeline`, if there is to be one; without a request, one that does nothing.

    Raises ConfigError for a name that no job can have.
    """
    if options["child_pipeline"] is None:
        return
    from hut_ci.reports.child_pipeline import child_pipeline

    tags = runner_tags(environ.get("CI_RUNNER_TAGS", ""))
    options["child_pipeline"].write_text(child_pipeline(request, document, tags), "utf-8")


def runner_tags(text: str) -> tuple[str, ...]:
    """The tags of the runner that we run on, as GitLab tells them: a JSON list. What is no list is none."""
    try:
        tags = json.loads(text)
    except ValueError:
        return ()
    return tuple(tag for tag in tags if isinstance(tag, str)) if isinstance(tags, list) else ()
