"""What is new: a forge's answers and what was known before → findings. Pure."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from hut_ci.model import BuildRun, BuildState, Watched
from hut_ci.stages import spoken
from hut_ci.stages.build_names import listed, shown
from hut_ci.stages.finding import Finding
from hut_ci.stages.trigger import Event

PUSHES = ("push",)
PULL_BUILDS = ("pull_request", "merge_request_event")
Marks = Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Build:
    """A run of the forge's own CI; `pull_request` where it is one's and the forge says so."""

    run: BuildRun
    pull_request: int | None = None


@dataclass(frozen=True, slots=True)
class Said:
    """A comment on a pull request as it stands there: `at` and `changed` are instants, `author` is who is asked for."""

    id: int
    number: int
    author: str
    body: str
    at: str
    changed: str
    person: bool = True


@dataclass(frozen=True, slots=True)
class Labelled:
    """Somebody has set a label on a pull request."""

    id: int
    number: int
    author: str
    label: str
    at: str


@dataclass(frozen=True, slots=True)
class Look:
    """One look at a repository. None where nothing has changed since the last one; `marks` are what the next one needs.

    The marks `comment` and `label` are the highest ids that were seen.
    """

    builds: Sequence[Build] | None = None
    comments: Sequence[Said] = ()
    labels: Sequence[Labelled] = ()
    marks: Marks = field(default_factory=dict)


def pulls_mark(ids: Collection[int], unfinished: Collection[int]) -> str:
    """At the first look for builds of pull requests: which will count, those that begin later and those that still run.

    However many pull requests are open, what was built before starts nothing.
    """
    return " ".join(str(number) for number in (max(ids, default=0) + 1, *unfinished))


def counts(mark: str, run_id: str) -> bool:
    """Whether a build of a pull request counts, by what `pulls_mark` said."""
    first, *ran = mark.split()
    return int(run_id) >= int(first) or run_id in ran


def findings(look: Look, watched: Watched, before: Marks) -> tuple[list[Finding], dict[str, str]]:
    """What asks for a run, oldest first, and the marks to keep with it, in one step or not at all."""
    built = list(_built(look.builds or (), watched, before))
    asked = [*_asked(look.comments, before), *_set(look.labels, before)]
    marks = dict(look.marks) | {head_mark(finding.line): str(finding.event.commit_sha) for finding in built}
    return [*built, *sorted(asked, key=lambda finding: finding.at)], marks


def nothing_pushed(builds: Iterable[Build], watched: Watched) -> str:
    """Why no push is tested at a first look, for whoever has just named the repository."""
    pushed = [run for run in (build.run for build in builds) if run.event in PUSHES]
    own = {run.branch: run for run in reversed(pushed) if run.branch and run.head_repository == run.repository}
    if chosen := [branch for branch in own if _is_chosen(branch, watched.branches)]:
        return "; ".join(f"the newest build of {shown(branch)}: {own[branch].state}" for branch in chosen)
    known = f", but there are some of {listed(own)}: `branches:` of lab.yml chooses" if own else ""
    return f"no build of a push to {listed(watched.branches)} is known{known}"


def _built(builds: Iterable[Build], watched: Watched, before: Marks) -> Iterator[Finding]:
    """Of each line the newest commit, once a build of it has succeeded; older ones are superseded by it anyway."""
    lines: dict[str, list[Build]] = {}
    for build in builds:
        if line := _line(build, watched):
            lines.setdefault(line, []).append(build)
    for line, found in lines.items():
        newest = max(found, key=lambda build: int(build.run.id))
        good = [build for build in found if _succeeded(build, newest)]
        if good and before.get(head_mark(line)) != newest.run.head_sha:
            yield _finding(line, min(good, key=lambda build: int(build.run.id)), newest)


def _line(build: Build, watched: Watched) -> str | None:
    """What the build is a build of; None for what does not count here, a stranger's fork above all."""
    run = build.run
    if run.head_repository != run.repository:
        return None
    if run.event in PUSHES and "push" in watched.events and _is_chosen(run.branch or "", watched.branches):
        return f"branch:{run.branch}"
    if run.event in PULL_BUILDS and "builds" in watched.events and build.pull_request is not None:
        return f"pull:{build.pull_request}"
    return None


def _succeeded(build: Build, newest: Build) -> bool:
    return build.run.state is BuildState.SUCCESS and build.run.head_sha == newest.run.head_sha


def _finding(line: str, build: Build, newest: Build) -> Finding:
    """Named after the newest build: a branch that returns to a commit has it built anew, and asks once more."""
    run = build.run
    kind = "push" if build.pull_request is None else "build"
    event = Event("push" if kind == "push" else "build", commit_sha=run.head_sha, pull_request=build.pull_request)
    return Finding(f"{kind}:{line}:{run.head_sha}:{newest.run.id}", line, event, run.started_utc or "", run.url)


def _asked(comments: Iterable[Said], before: Marks) -> Iterator[Finding]:
    """Commands, once, when they were written: an edited comment replays an old text."""
    last = int(before.get("comment", "0"))
    for said in comments:
        command = spoken.in_comment(said.body)
        if said.id <= last or command is None or not said.person or said.at != said.changed:
            continue
        event = Event(
            "comment",
            pull_request=said.number,
            sender=said.author,
            command=command,
            comment_id=str(said.id),
            at=said.at,
        )
        yield Finding(f"comment:{said.id}", f"pull:{said.number}", event, said.at)


def _set(labels: Iterable[Labelled], before: Marks) -> Iterator[Finding]:
    last = int(before.get("label", "0"))
    for entry in labels:
        command = spoken.in_label(entry.label)
        if entry.id <= last or command is None:
            continue
        event = Event(
            "label", pull_request=entry.number, sender=entry.author, command=command, label=entry.label, at=entry.at
        )
        yield Finding(f"label:{entry.id}", f"pull:{entry.number}", event, entry.at)


def branch_of(line: str) -> str | None:
    """The branch that a line is; None for a pull request."""
    kind, _, branch = line.partition(":")
    return branch if kind == "branch" else None


def _is_chosen(branch: str, patterns: Iterable[str]) -> bool:
    """`*` is anything but a slash, as in `runner: {allow: …}`."""
    return any(re.fullmatch(re.escape(pattern).replace(r"\*", "[^/]*"), branch) for pattern in patterns)


def head_mark(line: str) -> str:
    """The mark that says which commit of a line was found last."""
    return f"head:{line}"
