"""The commit status: pending at the start, and always one final state, whatever became of the run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, Protocol

from hut_ci.errors import PublishError
from hut_ci.model import Evidence, Request
from hut_ci.reports import states
from hut_ci.reports.escaping import cut, plain
from hut_ci.reports.json_document import problems
from hut_ci.reports.status_text import status_text
from hut_ci.stages.artifact import full_sha
from hut_ci.stages.verdict import judge, sentence

CONTEXT = "hardware / {slot}"
ERROR = {"name": "error"}
ALREADY = "already_passed"


class StatusSink(Protocol):
    """A forge, as far as a status is concerned.

    `vocabulary` is the column of the state table, `description_limit` the most characters of a description.
    `set_status` raises PublishError when the forge does not take it.
    """

    @property
    def vocabulary(self) -> Literal["github", "gitlab"]: ...
    @property
    def description_limit(self) -> int: ...
    def set_status(self, sha: str, context: str, state: str, description: str, target_url: str | None) -> None: ...


@dataclass(frozen=True, slots=True)
class Status:
    """What was, or is to be, posted."""

    sha: str
    context: str
    state: str
    description: str


@dataclass(frozen=True, slots=True)
class Posted:
    """The status of one context as a forge shows it."""

    context: str
    state: str
    description: str
    target_url: str | None


class Known(Protocol):
    """A sink that can tell what stands there."""

    @property
    def look_first(self) -> bool: ...
    def statuses(self, sha: str) -> Sequence[Posted]: ...


def known_before(forge: Known, sha: str) -> Sequence[Posted]:
    """What stands there, as far as that can be read: reading must not keep a status from being posted."""
    if not forge.look_first:
        return ()
    try:
        return forge.statuses(sha)
    except PublishError:
        return ()


@dataclass(frozen=True, slots=True)
class Annotation:
    """A remark beside a line of a file, in a check run."""

    path: str
    line: int
    title: str
    message: str


def due(text: str, not_after: str | None, limit: int) -> str:
    """The text of a pending status, with the instant after which nobody will answer any more (see sweep.py)."""
    if not_after is None:
        return cut(plain(text), limit)
    tail = f", {DUE} {not_after}"
    return cut(plain(text), limit - len(tail)) + tail


DUE = "answer by"


def announce(
    forge: StatusSink,
    sha: str,
    slot: str,
    text: str,
    *,
    context: str = CONTEXT,
    target_url: str | None = None,
    not_after: str | None = None,
) -> Status:
    """Post `pending` for a run that begins; `text` says what it waits for, `not_after` (an instant) for how long."""
    state = states.table()[states.RUNNING].of(forge.vocabulary)
    words = due(text, not_after, forge.description_limit)
    return _post(forge, Status(full_sha(sha), context.replace("{slot}", slot), state, words), target_url)


def settle(forge: StatusSink, sha: str, context: str, evidence: Evidence, target_url: str | None = None) -> Status:
    """Post the final state that `evidence` decides by itself, where no report is to come."""
    state = states.of_verdict({"name": judge(evidence).name.value}).of(forge.vocabulary)
    return _post(forge, Status(full_sha(sha), context, state, sentence(evidence)), target_url)


def publish(
    document: object,
    forge: StatusSink,
    *,
    sha: str | None = None,
    slot: str | None = None,
    context: str = CONTEXT,
    target_url: str | None = None,
    request: Request | None = None,
) -> Status:
    """Post the final state of a report `document`, or `error` for one that is missing, invalid or another's.

    With `sha` and `slot` the document has no say in where the status goes, and one about another commit or slot is
    not believed. Without them (one process did it all) the document's own count. With the `request` that it answers
    it has to be an answer to that very one, see `refusal`. Raises UsageError without a full commit id.
    """
    refused = refusal(document, sha, slot, request)
    hardware: Mapping[str, Any] = document["hardware"] if refused is None and isinstance(document, Mapping) else {}
    where = full_sha(sha if sha is not None else hardware.get("commit_sha"))
    place = slot if slot is not None else hardware.get("slot") or "no slot"
    if refused is None and isinstance(document, Mapping):
        row = states.of_verdict(hardware["verdict"])
        text = status_text(document, forge.description_limit)
    else:
        row = states.of_verdict(ERROR)
        text = sentence(Evidence("no_report", {"what": plain(refused or "")}))
    return _post(forge, Status(where, context.replace("{slot}", place), row.of(forge.vocabulary), text), target_url)


def refusal(document: object, sha: str | None, slot: str | None, request: Request | None = None) -> str | None:
    """Why `document` is not the report that a final state may be taken from; None if it is.

    An earlier report of the same commit and slot is no answer to a new `request`. Where that names a forge for
    builds, a pass has to be of an artifact of the run that it names, or at least of the commit.
    """
    if not isinstance(document, Mapping):
        return "there is no report"
    if found := problems(document):
        return f"the report is not valid ({cut(found[0], 80)})"
    if "hardware" not in document:
        return "the report is not about hardware"
    hardware = document["hardware"]
    if sha is not None and hardware["commit_sha"] != sha:
        return "the report is about another commit"
    if slot is not None and hardware["slot"] != slot:
        return "the report is about another slot"
    return (_unasked(hardware, request) if request is not None else None) or _contradiction(document, hardware)


def _unasked(hardware: Mapping[str, Any], request: Request) -> str | None:
    """Why this is no answer to the request."""
    if request.digest is not None and hardware["request_digest"] != request.digest:
        return "the report answers another request"
    if hardware["verdict"]["evidence"]["id"] == ALREADY and not request.skip_tested:
        return "the report recalls an earlier pass, and the request asked for a new one"
    if hardware["verdict"]["name"] == "pass" and not _is_of_the_build(hardware["artifact"] or {}, request):
        return "the report is about another build than that which was asked for"
    return None


def _is_of_the_build(artifact: Mapping[str, Any], request: Request) -> bool:
    if request.builds is None:
        return True
    from_forge = artifact.get("source") == "upstream_artifact" and artifact["commit_sha"] == request.commit_sha
    same_forge = from_forge and artifact["forge"] == request.builds.partition(":")[0]
    return same_forge and request.run_id in (None, artifact["run_id"])


def _contradiction(document: Mapping[str, Any], hardware: Mapping[str, Any]) -> str | None:
    """A document that was tampered with must not turn green: its parts have to agree."""
    verdict = hardware["verdict"]
    row = states.of_verdict(verdict)
    agrees = document["status"] == row.ws2 and document["exit_code"] == verdict["exit_code"]
    if not agrees:
        return "the report contradicts itself"
    if verdict["name"] == "pass" and verdict["evidence"]["id"] != ALREADY and not _watched_a_pass(hardware["attempts"]):
        return "the report claims a pass without a passed attempt"
    return None


def _watched_a_pass(attempts: Sequence[Mapping[str, Any]]) -> bool:
    """The last attempt that watched the board saw it pass; stages without a board may follow."""
    watched = [attempt for attempt in attempts if attempt["suite"]]
    return bool(watched) and watched[-1]["suite"]["evidence"]["id"] == "passed"


def _post(forge: StatusSink, status: Status, target_url: str | None) -> Status:
    short = Status(status.sha, status.context, status.state, cut(status.description, forge.description_limit))
    forge.set_status(short.sha, short.context, short.state, short.description, target_url)
    return short
