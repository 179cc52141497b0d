"""The runners that may take a project's jobs, tag by tag: GitLab's list of them shows no tags."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from hut_ci.errors import ArtifactError
from hut_ci.forges.fields import as_text
from hut_ci.forges.gitlab.api import GitLabApi
from hut_ci.stages.serving import EVERY_RUNNER, Runner

LISTING = "the scope `read_api`, role Maintainer"


def runners(api: GitLabApi, labels: Iterable[str]) -> tuple[Runner, ...]:
    """Those with one of these tags, its group's among them. Raises ArtifactError where GitLab does not tell."""
    with api.asking(ArtifactError, "list the runners", LISTING):
        return tuple(
            Runner(frozenset({EVERY_RUNNER, label.lower()}), _is_online(entry))
            for label in dict.fromkeys(labels)
            for entry in api.pages("runners", tag_list=label)
        )


def _is_online(data: Mapping[str, Any]) -> bool:
    return as_text(data["status"]) == "online" and not data["paused"]
