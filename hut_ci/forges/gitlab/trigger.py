"""What a trigger asks of GitLab, and the traces that it leaves."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from urllib.parse import quote

from gitlab.exceptions import GitlabHttpError

from hut_ci.errors import ArtifactError, PublishError
from hut_ci.forges.fields import as_number, as_text
from hut_ci.forges.gitlab import answers
from hut_ci.forges.gitlab.api import PAGE, GitLabApi
from hut_ci.forges.gitlab.rights import DEVELOPER
from hut_ci.model import PullRequest
from hut_ci.stages.gitlab_event import Asking, LabelEvent, Note, Pipeline, Place

READING = "the scope `read_api`"
WRITING = "the scope `api`, role Developer"
USED = "eyes"
"""The reaction on a note that was taken up. GitLab gives it to nobody twice, and it shows who did."""


@dataclass(frozen=True, slots=True)
class GitLabTrigger:
    """One project. Reads raise ArtifactError, writes PublishError, where GitLab does not answer."""

    api: GitLabApi

    def may_write(self, user: str) -> bool:
        """Whether the user of that number is a Developer or more here; False wherever it cannot be told."""
        try:
            with self.api.asking(ArtifactError, "look at a member", READING):
                return as_number(self.api.get(f"members/all/{quote(user, safe='')}")["access_level"]) >= DEVELOPER
        except ArtifactError:
            return False

    def anybody_sets_variables(self) -> bool:
        """Whether the project lets everybody who may start a pipeline give variables to it."""
        with self.api.asking(ArtifactError, "look at the project", READING):
            return self.api.get("").get("restrict_user_defined_variables") is False

    def pipeline(self, number: str) -> Pipeline:
        with self.api.asking(ArtifactError, f"look at pipeline {number}", READING):
            return answers.pipeline(self.api.get(f"pipelines/{quote(number, safe='')}"))

    def parents(self, sha: str) -> list[str]:
        with self.api.asking(ArtifactError, f"look at {sha[:12]}", READING):
            return [as_text(parent) for parent in self.api.get(f"repository/commits/{sha}")["parent_ids"]]

    def pull_request(self, number: int) -> PullRequest:
        with self.api.asking(ArtifactError, f"look at merge request {number}", READING):
            return answers.pull_request(self.api.get(f"merge_requests/{number}"))

    def first_build(self, sha: str) -> str | None:
        """When GitLab created the first pipeline of a commit; None without one."""
        with self.api.asking(ArtifactError, f"list the pipelines of {sha[:12]}", READING):
            found = self.api.pages("pipelines", sha=sha)
            return min((as_text(line["created_at"]) for line in found if line["sha"] == sha), default=None)

    def place(self, number: int) -> Place:
        with self.api.asking(ArtifactError, f"look at merge request {number}", READING):
            return answers.place(self.api.get(f"merge_requests/{number}"))

    def places(self, since: str) -> list[Place]:
        """The open merge requests on which something happened since that instant; at most a hundred, the latest."""
        with self.api.asking(ArtifactError, "list the merge requests", READING):
            order = {"order_by": "updated_at", "sort": "desc", "per_page": PAGE}
            found = self.api.get("merge_requests", state="opened", updated_after=since, **order)
            return [answers.place(entry) for entry in found]

    def label_events(self, number: int) -> list[LabelEvent]:
        """Who set and took off which label, the earliest first."""
        with self.api.asking(ArtifactError, f"read the labels' history of merge request {number}", READING):
            found = self.api.pages(f"merge_requests/{number}/resource_label_events")
            return sorted((answers.label_event(entry) for entry in found), key=lambda event: event.at)

    def notes(self, number: int, since: str) -> Iterator[Note]:
        """The notes of a merge request that were written since that instant, the latest first."""
        with self.api.asking(ArtifactError, f"read the notes of merge request {number}", READING):
            for entry in self.api.pages(f"merge_requests/{number}/notes", order_by="created_at", sort="desc"):
                note = answers.note(entry)
                if note.at < since:
                    return
                yield note

    def take(self, asking: Asking) -> bool:
        """Mark what asks as used; False where it was used before. It may start a run only afterwards."""
        number = asking.event.pull_request
        assert number is not None
        if asking.note is not None:
            return self._react(number, asking.note)
        assert asking.label is not None
        return self._take_off(number, asking.label)

    def _react(self, number: int, note: int) -> bool:
        path = f"merge_requests/{number}/notes/{note}/award_emoji"
        with self.api.asking(PublishError, f"react to note {note}", WRITING):
            try:
                self.api.post(path, {"name": USED})
            except GitlabHttpError as error:
                if error.response_code != 404 or not self._reacted(path):
                    raise
                return False
            return True

    def _reacted(self, path: str) -> bool:
        """Whether the reaction is there already, and ours: anybody can give one."""
        own = as_number(self.api.get("/user")["id"])
        return any(award["name"] == USED and award["user"]["id"] == own for award in self.api.pages(path))

    def _take_off(self, number: int, label: str) -> bool:
        with self.api.asking(PublishError, f"remove a label of merge request {number}", WRITING):
            if label in self.api.put(f"merge_requests/{number}", {"remove_labels": label})["labels"]:
                raise PublishError(
                    f"the label {label} of merge request {number} is still there",
                    why="GitLab ignored that it was to be removed: left there, it would ask again and again",
                    todo=f"give the token {WRITING}",
                )
            return True
