"""One look at a repository: two conditional requests, and more only where something has changed."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, replace
from urllib.parse import quote

from github.GithubException import GithubException

from hut_ci.errors import PublishError
from hut_ci.forges.fields import as_number, as_text
from hut_ci.forges.github import answers
from hut_ci.forges.github.api import MOST_PAGES, PAGE, GitHubApi
from hut_ci.forges.github.trigger import GitHubTrigger
from hut_ci.model import BuildState
from hut_ci.stages.news import Build, Labelled, Look, Said, counts, pulls_mark

NEEDS = "`actions: read`, `pull-requests: read`"
ASKED = frozenset({"label", "comment"})
Json = answers.Json


@dataclass(frozen=True, slots=True)
class GitHubWatching:
    """One repository. Every method raises PublishError, ForgeUnavailable among them, where GitHub does not answer.

    Marks: `etag-runs` and `etag-issues` are GitHub's own, `comment` and `label` the highest ids seen, `since` the
    instant of the newest comment, `pulls` what counts for pull requests.
    """

    api: GitHubApi

    def look(self, marks: Mapping[str, str], events: Collection[str]) -> Look:
        """What is there since `marks`. Without any, builds only: nobody meant us by what was said before."""
        with self.api.asking(PublishError, "look for news", NEEDS):
            etag, data = self.api.changed("actions/runs", marks.get("etag-runs"), per_page=PAGE)
            new = {"etag-runs": etag}
            builds = None if data is None else self._builds(data["workflow_runs"], marks, new, events)
            if not ASKED & set(events):
                return Look(builds, marks=new)
            # Whatever is said or labelled makes its pull request the one that was changed last.
            newest = {"state": "open", "sort": "updated", "direction": "desc", "per_page": 1}
            etag, data = self.api.changed("issues", marks.get("etag-issues"), **newest)
            new["etag-issues"] = etag
            if data is None:
                return Look(builds, marks=new)
            comments = self._comments(marks, new) if "comment" in events else []
            labels = self._labels(marks, new) if "label" in events else []
            return Look(builds, comments, labels, new)

    def head(self, branch: str) -> str | None:
        """The commit that a branch stands at; None where it was deleted."""
        with self.api.asking(PublishError, f"look at the branch {branch[:60]}", "`contents: read`"):
            try:
                return as_text(self.api.get(f"branches/{quote(branch, safe='')}")["commit"]["sha"])
            except GithubException as error:
                if error.status != 404:
                    raise
                return None

    def is_writer(self, user: str) -> bool:
        """Whether `user` has the role write or more."""
        return GitHubTrigger(self.api).is_writer(user)

    def accept(self, _number: int, comment_id: str) -> None:
        GitHubTrigger(self.api).accept(comment_id)

    def drop_label(self, number: int, label: str) -> None:
        GitHubTrigger(self.api).drop_label(number, label)

    def _builds(
        self, first: list[Json], marks: Mapping[str, str], new: dict[str, str], events: Collection[str]
    ) -> list[Build]:
        """Back to the oldest run that had not ended at the last look, or, where all had, to the newest of then."""
        back_to = int(marks.get("run", "-1"))
        builds, page, number = [_build(run) for run in first], first, 1
        while back_to >= 0 and len(page) == PAGE and int(builds[-1].run.id) > back_to and number < MOST_PAGES:
            number += 1
            page = self.api.get("actions/runs", per_page=PAGE, page=number)["workflow_runs"]
            builds += [_build(run) for run in page]
        ids = [int(build.run.id) for build in builds]
        unfinished = [int(build.run.id) for build in builds if build.run.state is BuildState.RUNNING]
        new["run"] = str(min(unfinished, default=max(ids, default=0)))
        if "builds" not in events:
            return builds
        new["pulls"] = marks.get("pulls") or pulls_mark(ids, unfinished)
        return [build if counts(new["pulls"], build.run.id) else replace(build, pull_request=None) for build in builds]

    def _comments(self, marks: Mapping[str, str], new: dict[str, str]) -> list[Said]:
        if "comment" not in marks:
            last = self.api.get("issues/comments", sort="created", direction="desc", per_page=1)
            found, new["comment"] = list(last), "0"
        else:
            found = list(self.api.pages("issues/comments", sort="created", direction="asc", since=marks.get("since")))
        if found:
            new["comment"] = str(max(int(marks.get("comment", "0")), *(as_number(entry["id"]) for entry in found)))
            new["since"] = max(as_text(entry["created_at"]) for entry in found)
        # An account that was deleted since is null, and asks for nothing any more.
        told = [entry for entry in found if entry["user"] is not None and "/pull/" in as_text(entry["html_url"])]
        return [_said(entry) for entry in told] if "comment" in marks else []

    def _labels(self, marks: Mapping[str, str], new: dict[str, str]) -> list[Labelled]:
        """GitHub lists the newest event first."""
        last = int(marks.get("label", "-1"))
        found = []
        for entry in self.api.pages("issues/events") if last >= 0 else self.api.get("issues/events", per_page=1):
            if as_number(entry["id"]) <= last:
                break
            found.append(entry)
        new["label"] = str(max([last, 0, *(as_number(entry["id"]) for entry in found)]))
        return list(_labelled(found)) if last >= 0 else []


def _build(data: Json) -> Build:
    run = answers.build_run(data)
    requests = [
        as_number(pull["number"]) for pull in data["pull_requests"] or () if pull["head"]["sha"] == run.head_sha
    ]
    return Build(run, requests[0] if run.event == "pull_request" and requests else None)


def _said(data: Json) -> Said:
    return Said(
        id=as_number(data["id"]),
        number=int(as_text(data["issue_url"]).rpartition("/")[2]),
        author=as_text(data["user"]["login"]),
        body=as_text(data["body"] or ""),
        at=as_text(data["created_at"]),
        changed=as_text(data["updated_at"]),
        person=data["user"]["type"] == "User",
    )


def _labelled(entries: list[Json]) -> Iterator[Labelled]:
    for entry in entries:
        pull = (entry.get("issue") or {}).get("pull_request")
        if entry["event"] == "labeled" and pull is not None and entry.get("actor"):
            yield Labelled(
                id=as_number(entry["id"]),
                number=as_number(entry["issue"]["number"]),
                author=as_text(entry["actor"]["login"]),
                label=as_text(entry["label"]["name"]),
                at=as_text(entry["created_at"]),
            )
