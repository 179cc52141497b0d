"""One look at a project: two conditional requests, and more only where something has changed."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC
from email.utils import parsedate_to_datetime
from urllib.parse import quote

from gitlab.exceptions import GitlabHttpError

from hut_ci.errors import ForgeUnavailable, PublishError
from hut_ci.forges.fields import as_number, as_text
from hut_ci.forges.gitlab import answers
from hut_ci.forges.gitlab.api import MOST_PAGES, PAGE, GitLabApi
from hut_ci.forges.gitlab.rights import DEVELOPER
from hut_ci.forges.gitlab.trigger import READING, GitLabTrigger
from hut_ci.model import BuildRun, BuildState
from hut_ci.stages.gitlab_event import Asking
from hut_ci.stages.news import Build, Labelled, Look, Said, counts, pulls_mark
from hut_ci.stages.trigger import Event
from hut_ci.units import utc_text

ASKED = frozenset({"label", "comment"})
Json = answers.Json


@dataclass(frozen=True, slots=True)
class GitLabWatching:
    """One project. Every method raises PublishError, ForgeUnavailable among them, where GitLab does not answer.

    Marks: `etag-runs` and `etag-issues` are GitLab's own, `first` is the instant of the first look, `since` that of the
    latest change, `pulls` what counts for merge requests; `comment:N` and `label:N` are the highest ids seen on merge
    request N.
    """

    api: GitLabApi

    def look(self, marks: Mapping[str, str], events: Collection[str]) -> Look:
        """What is there since `marks`. Without any, builds only: nobody meant us by what was said before."""
        with self.api.asking(PublishError, "look for news", READING):
            etag, data = self.api.changed("pipelines", marks.get("etag-runs"), per_page=PAGE)
            new = {"etag-runs": etag}
            builds = None if data is None else list(self._builds(data, marks, new, events))
            if not ASKED & set(events):
                return Look(builds, marks=new)
            newest = {"state": "opened", "order_by": "updated_at", "sort": "desc", "per_page": 1}
            etag, data = self.api.changed("merge_requests", marks.get("etag-issues"), **newest)
            new["etag-issues"] = etag
            if data is None:
                return Look(builds, marks=new)
            if "first" not in marks:
                new["first"] = new["since"] = self._now()
                return Look(builds, marks=new)
            comments, labels = self._talk(marks, new, events)
            return Look(builds, comments, labels, new)

    def head(self, branch: str) -> str | None:
        """The commit that a branch stands at; None where it was deleted."""
        with self.api.asking(PublishError, f"look at the branch {branch[:60]}", READING):
            try:
                return as_text(self.api.get(f"repository/commits/{quote(branch, safe='')}")["id"])
            except GitlabHttpError as error:
                if error.response_code != 404:
                    raise
                return None

    def is_writer(self, user: str) -> bool:
        """Whether the user of that number is a Developer or more here."""
        try:
            with self.api.asking(PublishError, "look at a member", READING):
                return as_number(self.api.get(f"members/all/{quote(user, safe='')}")["access_level"]) >= DEVELOPER
        except ForgeUnavailable:
            raise
        except PublishError:
            return False

    def accept(self, number: int, comment_id: str) -> None:
        GitLabTrigger(self.api).take(Asking(Event("comment", pull_request=number), note=int(comment_id)))

    def drop_label(self, number: int, label: str) -> None:
        GitLabTrigger(self.api).take(Asking(Event("label", pull_request=number), label=label))

    def _builds(
        self, data: list[Json], marks: Mapping[str, str], new: dict[str, str], events: Collection[str]
    ) -> Iterator[Build]:
        """Of a merge request's pipelines the new ones: whose code they are has to be asked for one by one."""
        back_to = int(marks.get("run", "-1"))
        runs = [(answers.build_run(entry), answers.merge_request_of(entry)) for entry in self._back_to(back_to, data)]
        ids = [int(run.id) for run, _ in runs]
        unfinished = [int(run.id) for run, _ in runs if run.state is BuildState.RUNNING]
        new["run"] = str(min(unfinished, default=max(ids, default=0) + 1))
        if "builds" in events:
            new["pulls"] = marks.get("pulls") or pulls_mark(ids, unfinished)
        for run, number in runs:
            if number is None:
                yield Build(run)
            elif "builds" in events and run.state is BuildState.SUCCESS and _is_new(run, back_to, new["pulls"]):
                yield self._of_merge_request(run, number)

    def _back_to(self, oldest: int, data: list[Json]) -> Iterator[Json]:
        """The pipelines back to that one, the newest first; `data` is the first page."""
        for number in range(2, MOST_PAGES + 2):
            yield from data
            if oldest < 0 or len(data) < PAGE or as_number(data[-1]["id"]) <= oldest or number > MOST_PAGES:
                return
            data = self.api.get("pipelines", per_page=PAGE, page=number)

    def _of_merge_request(self, run: BuildRun, number: int) -> Build:
        request = self.api.get(f"merge_requests/{number}")
        found = answers.of_merge_request(run, request)
        return Build(found, number if request["sha"] == run.head_sha else None)

    def _talk(
        self, marks: Mapping[str, str], new: dict[str, str], events: Collection[str]
    ) -> tuple[list[Said], list[Labelled]]:
        order = {"order_by": "updated_at", "sort": "asc", "updated_after": marks["since"]}
        changed = list(self.api.pages("merge_requests", state="opened", **order))
        comments: list[Said] = []
        labels: list[Labelled] = []
        for number in [as_number(request["iid"]) for request in changed]:
            if "comment" in events:
                comments += self._notes(number, marks, new)
            if "label" in events:
                labels += self._labels(number, marks, new)
        if changed:
            new["since"] = max(as_text(request["updated_at"]) for request in changed)
        return comments, labels

    def _notes(self, number: int, marks: Mapping[str, str], new: dict[str, str]) -> list[Said]:
        last, found = int(marks.get(f"comment:{number}", "0")), []
        for entry in self.api.pages(f"merge_requests/{number}/notes", order_by="created_at", sort="desc"):
            note = answers.note(entry)
            if note.id <= last or utc_text(note.at) < marks["first"]:
                break
            found.append(note)
        new[f"comment:{number}"] = str(max([last, *(note.id for note in found)]))
        told = [note for note in found if not note.system]
        return [Said(note.id, number, note.author, note.body, note.at, note.changed) for note in reversed(told)]

    def _labels(self, number: int, marks: Mapping[str, str], new: dict[str, str]) -> list[Labelled]:
        last, found = int(marks.get(f"label:{number}", "0")), []
        for entry in self.api.pages(f"merge_requests/{number}/resource_label_events"):
            event, at = answers.label_event(entry), as_number(entry["id"])
            if at > last and event.added and event.label and event.user and utc_text(event.at) >= marks["first"]:
                found.append(Labelled(at, number, event.user, event.label, event.at))
            new[f"label:{number}"] = str(max(at, int(new.get(f"label:{number}", str(last)))))
        return found

    def _now(self) -> str:
        """By GitLab's own clock, as its last answer says it."""
        date = next((value for name, value in self.api.answered[-1].items() if name.lower() == "date"), "")
        return utc_text(parsedate_to_datetime(date).astimezone(UTC).isoformat())


def _is_new(run: BuildRun, back_to: int, pulls: str) -> bool:
    return int(run.id) >= back_to and counts(pulls, run.id)
