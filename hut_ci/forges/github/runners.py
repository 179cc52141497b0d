"""The self-hosted runners that are registered with one repository; those of its organisation are not among them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from hut_ci.errors import ArtifactError
from hut_ci.forges.fields import as_text
from hut_ci.forges.github.api import GitHubApi
from hut_ci.stages.serving import Runner


def runners(api: GitHubApi) -> tuple[Runner, ...]:
    """Raises ArtifactError where GitHub does not tell. A job's own token may not ask (docs: "List self-hosted
    runners for a repository")."""
    with api.asking(ArtifactError, "list the runners", "`administration: read`"):
        return tuple(_runner(entry) for entry in api.pages("actions/runners", "runners"))


def _runner(data: Mapping[str, Any]) -> Runner:
    labels = frozenset(as_text(label["name"]).lower() for label in data["labels"])
    return Runner(labels, online=as_text(data["status"]) == "online")
