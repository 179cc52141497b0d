"""The answer to a request: states, the aggregate and the comment, from reports that may be missing or another's."""

from __future__ import annotations

import copy
import json
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from hut_ci.errors import ConfigError
from hut_ci.model import Evidence, Pair, Request
from hut_ci.reports import states
from hut_ci.reports.comment import comment
from hut_ci.stages.aggregate import ORDER, Result, whole
from hut_ci.stages.check_run import check_run, remarks
from hut_ci.stages.comment import MARKER, Comment, upsert
from hut_ci.stages.deliver import deliver, discuss, results_of
from hut_ci.stages.request import from_document, read_request

RUNS = Path(__file__).parents[1] / "data" / "reports" / "runs"
SHA = "0123456789abcdef0123456789abcdef01234567"
URL = "https://ci.example/run/7"


def recorded(name: str, slot: str = "hut-01") -> Any:
    document = json.loads((RUNS / f"{name}.json").read_text())
    document["hardware"]["slot"] = slot
    return document


def asked(*slots: str, **changes: Any) -> Request:
    pairs = tuple(Pair(slot, f"hardware / {slot}") for slot in slots)
    return Request(
        **{"commit_sha": SHA, "pairs": pairs, "not_after": "2026-02-12T16:00:00Z", "run_url": URL, **changes}
    )


@dataclass
class Sink:
    vocabulary: str = "github"
    description_limit: int = 140
    posted: dict[str, tuple[str, str, str]] = field(default_factory=dict)

    def set_status(self, sha: str, context: str, state: str, description: str, target_url: str | None) -> None:
        assert target_url == URL
        self.posted[context] = (sha, state, description)


class Conversation:
    limit = 65536

    def __init__(self, *own: Comment) -> None:
        self.own, self.added, self.edited = list(own), [], []

    def own_comments(self, _number: int, marker: str) -> list[Comment]:
        return [comment for comment in self.own if comment.body.startswith(marker)]

    def add_comment(self, number: int, body: str) -> None:
        self.added.append((number, body))

    def edit_comment(self, number: int, comment_id: str, body: str) -> None:
        self.edited.append((number, comment_id, body))


# --- statuses --------------------------------------------------------------------------------------------------


def test_each_slot_and_all_together() -> None:
    sink = Sink()
    deliver(asked("hut-01", "hut-02"), [recorded("pass"), recorded("fail", "hut-02")], sink)
    states_ = {context: (sha, state) for context, (sha, state, _) in sink.posted.items()}
    assert states_ == {
        "hardware / hut-01": (SHA, "success"),
        "hardware / hut-02": (SHA, "failure"),
        "hardware": (SHA, "failure"),
    }
    assert sink.posted["hardware"][2].startswith("1 of 2 slots pass; hut-02: panic")


def test_a_slot_without_a_report_is_an_error() -> None:
    """security 22, 23: a job that never answered."""
    sink = Sink()
    deliver(asked("hut-01", "hut-02"), [recorded("pass")], sink)
    assert sink.posted["hardware / hut-02"][1:] == (
        "error",
        "lab error: there is no report",
    )
    assert sink.posted["hardware"][1] == "error"


@pytest.mark.parametrize(
    "tampered",
    [{"commit_sha": "f" * 40}, {"slot": "hut-09"}, {"attempts": []}, {"verdict": {"name": "pass"}}],
    ids=["commit", "slot", "attempts", "verdict"],
)
def test_a_report_that_is_not_the_requests_is_never_green(tampered: dict[str, Any]) -> None:
    """security 6: commit, slot and context come from the request."""
    document = recorded("pass")
    document["hardware"].update(tampered)
    sink = Sink()
    deliver(asked("hut-01"), [document], sink)
    assert {state for _, state, _ in sink.posted.values()} == {"error"}
    assert {sha for sha, _, _ in sink.posted.values()} == {SHA}


def test_an_earlier_pass_counts_only_where_it_was_asked_for() -> None:
    document = recorded("pass")
    document["hardware"]["verdict"]["evidence"] = {"id": "already_passed", "fields": {"when": "2026-02-12T15:00:00Z"}}
    document["hardware"]["attempts"] = []
    for skip, state in ((True, "success"), (False, "error")):
        sink = Sink()
        deliver(asked("hut-01", skip_tested=skip, aggregate=None), [copy.deepcopy(document)], sink)
        assert sink.posted["hardware / hut-01"][1] == state


def test_of_two_reports_about_a_slot_the_worst_counts() -> None:
    for documents in ([recorded("fail"), recorded("pass")], [recorded("pass"), recorded("fail")]):
        sink = Sink()
        deliver(asked("hut-01"), documents, sink)
        assert {state for _, state, _ in sink.posted.values()} == {"failure"}


def two_variants(**more: Any) -> Request:
    pairs = [{"slot": "hut-01", "variant": name} for name in ("i2s", "muse")]
    return from_document({**REQUEST, "run_url": URL, "pairs": pairs, **more}, "request.json")


def test_two_variants_on_one_slot_have_a_status_each() -> None:
    request, sink = two_variants(), Sink()
    assert [pair.context for pair in request.pairs] == ["hardware / hut-01 / i2s", "hardware / hut-01 / muse"]
    passed, failed = recorded("pass"), recorded("fail")
    passed["hardware"]["variant"], failed["hardware"]["variant"] = "i2s", "muse"
    for document in (passed, failed):
        document["hardware"]["request_digest"] = request.digest
        document["hardware"]["artifact"].update(forge="github", run_id=request.run_id)
    deliver(request, [failed, passed], sink)
    assert {context: state for context, (_, state, _) in sink.posted.items()} == {
        "hardware / hut-01 / i2s": "success",
        "hardware / hut-01 / muse": "failure",
        "hardware": "failure",
    }
    assert sink.posted["hardware"][2].startswith("1 of 2 slots pass; hut-01 / muse: panic")


def test_a_report_without_a_variant_answers_for_none_of_several() -> None:
    """security 23: one pass would otherwise turn two statuses green."""
    passed, sink = recorded("pass"), Sink()
    passed["hardware"]["variant"] = None
    deliver(two_variants(), [passed], sink)
    assert {state for _, state, _ in sink.posted.values()} == {"error"}


def test_a_build_that_lay_on_the_lab_host_answers_no_request_for_a_forges() -> None:
    document = recorded("pass")
    document["hardware"]["artifact"]["source"] = "local"
    for builds, state in (("github:acme/firmware", "error"), (None, "success")):
        sink = Sink()
        deliver(asked("hut-01", builds=builds), [document], sink)
        assert sink.posted["hardware / hut-01"][1] == state


@pytest.mark.parametrize(
    ("change", "state"),
    [
        ({}, "success"),
        ({"digest": "ab" * 32}, "error"),
        ({"run_id": "8"}, "error"),
        ({"builds": "gitlab:acme/hello"}, "error"),
        ({"digest": None, "run_id": None}, "success"),
    ],
    ids=["its own", "another request", "another run", "another forge", "asked by a person"],
)
def test_a_pass_answers_the_request_that_it_was_made_for(change: dict[str, Any], state: str) -> None:
    """security 6: a pass of the same commit on the same board that is not of this request proves nothing."""
    document, sink = recorded("pass"), Sink()
    document["hardware"]["artifact"]["forge"] = "github"
    request = asked("hut-01", **{"digest": "ee" * 32, "run_id": "7", "builds": "github:acme/hello", **change})
    deliver(request, [document], sink)
    assert sink.posted["hardware / hut-01"][1] == state


def test_a_request_is_the_same_however_it_is_written(tmp_path: Path) -> None:
    (tmp_path / "request.json").write_text(json.dumps(dict(reversed(REQUEST.items())), indent=2))
    digest = read_request(str(tmp_path / "request.json")).digest
    assert digest == read_request(json.dumps(REQUEST)).digest
    assert digest != from_document({**REQUEST, "not_after": "2026-02-12T16:00:01Z"}, "another").digest


def test_why_a_report_is_missing_is_told() -> None:
    sink = Sink()
    deliver(asked("hut-01", "hut-02"), [recorded("fail")], sink, Evidence("no_report", {"what": "the disk was full"}))
    assert sink.posted["hardware / hut-02"][1:] == (
        "error",
        "lab error: the disk was full",
    )
    assert sink.posted["hardware / hut-01"][1] == "failure"


# --- the aggregate -----------------------------------------------------------------------------------------------


def results(*keys: str, informational: str = "") -> list[Result]:
    found = [Result(f"hut-{number:02}", key, f"text of {key}") for number, key in enumerate(keys, 1)]
    return [*found, Result("hut-99", informational, "x", informational=True)] if informational else found


def test_the_order_names_every_state() -> None:
    assert set(ORDER) == set(states.table())


@pytest.mark.parametrize("worst", ORDER)
def test_the_worst_that_counts(worst: str) -> None:
    better = ORDER[ORDER.index(worst) :]
    assert whole(results(*better)).key == worst
    assert whole(results(*reversed(better))).key == worst


def test_an_informational_slot_is_shown_and_has_no_say() -> None:
    told = whole(results("pass", informational="fail"))
    assert (told.key, told.sentence) == ("pass", "1 of 1 slots pass; hut-99 (informational): fail")
    assert whole(results("fail", informational="pass")).key == "fail"
    assert whole(results(informational="fail")).key == "fail", "alone, it counts"


def test_nothing_tested_is_not_green() -> None:
    """security 23."""
    assert whole([]).key == "error"


def test_a_pass_that_needed_help_says_so() -> None:
    assert whole(results("pass", "recovered")).sentence == "2 of 2 slots pass (hut-02 recovered)"


# --- the comment ---------------------------------------------------------------------------------------------------


def talk(names: dict[str, str], when: Any = "auto", *own: Comment, number: int | None = 12) -> Conversation:
    request = asked(*names, pull_request=number)
    documents = [recorded(name, slot) for slot, name in names.items()]
    conversation = Conversation(*own)
    discuss(request, results_of(request, documents), conversation, when)
    return conversation


def test_a_failure_begins_a_comment() -> None:
    ((number, body),) = talk({"hut-01": "fail", "hut-02": "pass"}).added
    assert number == 12
    assert body.startswith(f"{MARKER}\n### Hardware tests of `0123456789ab` · [run](<{URL}>)")
    assert "| ❌ | hut-01 | panic" in body
    assert "| ✅ | hut-02 | pass" in body
    assert "lines of the serial log" in body


def test_a_pass_begins_none_but_renews_one() -> None:
    assert talk({"hut-01": "pass"}).added == []
    ((_, found, body),) = talk({"hut-01": "pass"}, "auto", Comment("7", f"{MARKER}\nold"), Comment("8", "x")).edited
    assert found == "7"
    assert "✅" in body
    assert talk({"hut-01": "pass"}, "auto", Comment("7", body)).edited == [], "the same text is not written again"
    assert talk({"hut-01": "pass"}, "always").added
    assert talk({"hut-01": "fail"}, "never").added == []
    assert talk({"hut-01": "fail"}, number=None).added == []


def test_a_lab_error_and_a_missing_report_are_told_too() -> None:
    request = asked("hut-01", "hut-02", pull_request=1)
    text = comment(SHA, [(r.slot, r.sentence, r.document) for r in results_of(request, [recorded("error")])], 65536)
    assert text.count("⚠️") == 2
    assert "there is no report" in text


def test_a_comment_keeps_to_the_forges_limit() -> None:
    document = recorded("fail")
    for attempt in document["hardware"]["attempts"]:
        attempt["suite"]["last_lines"] = ["x" * 239] * 30
    rows = [(f"hut-{number:02}", "panic", document) for number in range(10)]
    whole_text = comment(SHA, rows, 1_000_000)
    assert len(whole_text) > 65536
    for limit in (65536, 20_000, 3000):
        assert len(comment(SHA, rows, limit)) <= limit


def test_a_boards_text_is_no_markup() -> None:
    """security 13."""
    document = recorded("fail")
    document["hardware"]["verdict"]["sentence"] = "panic: </td><script>@everyone [x](http://evil) | ``` **b**"
    text = comment(
        SHA, [("hut-01", document["hardware"]["verdict"]["sentence"], document)], 65536, "javascript:alert(1)"
    )
    running = re.sub(r"(`{3,})text\n.*?\n\1", "", text, flags=re.DOTALL)  # a fenced block holds no markup
    assert "<script>" in text
    assert "<script>" not in running
    assert "javascript:" not in running
    assert "@everyone" not in running
    assert "[x](http" not in running


def test_upsert_says_whether_it_wrote() -> None:
    assert upsert(Conversation(), 1, "x", failed=True, when="auto") is True
    assert upsert(Conversation(), 1, "x", failed=False, when="auto") is False


# --- the check run ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "conclusion"),
    [("pass", "success"), ("fail", "failure"), ("error", "action_required"), ("blocked", "action_required"),
     ("cancelled", "cancelled"), ("killed", "action_required")],
)  # fmt: skip
def test_a_check_run_is_never_green_or_neutral_without_a_pass(name: str, conclusion: str) -> None:
    written = []

    class Forge:
        def set_check_run(self, *arguments: object) -> None:
            written.append(arguments)

    check_run(Forge(), recorded(name), SHA, "hardware / hut-01", URL)
    assert written[0][:3] == (SHA, "hardware / hut-01", conclusion)


def test_remarks_are_about_the_firmwares_failures_only() -> None:
    document = recorded("fail")
    document["hardware"]["cases"] = [
        {"name": "ready", "outcome": "fail", "seconds": 1.0, "reason": "not seen"},
        {"name": "boot", "outcome": "pass", "seconds": 1.0, "reason": ""},
    ]
    assert [(note.title, note.message) for note in remarks(document)] == [("ready", "not seen")]
    document["hardware"]["verdict"]["name"] = "error"
    assert remarks(document) == []


def test_a_slot_that_cannot_be_served_is_answered_without_a_report() -> None:
    pairs = (
        Pair("hut-01", "hardware / hut-01", label="esp32-hut-01"),
        Pair("hut-02", "hardware / hut-02", label="esp32-hut-02", blocked="runner_offline"),
    )
    sink = Sink()
    deliver(asked(pairs=pairs), [recorded("pass")], sink)
    assert [sink.posted[pair.context][1] for pair in pairs] == ["success", "error"]
    assert sink.posted["hardware / hut-02"][2].startswith("blocked: ")
    assert sink.posted["hardware"][1] == "error", "security 23: what was not tested is not green"
    assert "hut-02: blocked: " in sink.posted["hardware"][2]
    deliver(asked(pairs=pairs), [recorded("pass"), recorded("pass", "hut-02")], sink)
    assert sink.posted["hardware"][1] == "success", "a report that came after all counts"


# --- the request -----------------------------------------------------------------------------------------------------

REQUEST = {
    "schema_version": "hut.request.v1",
    "commit_sha": SHA,
    "builds": "github:acme/firmware",
    "pairs": [{"slot": "hut-01", "variant": "i2s"}, {"slot": "hut-02", "context": "hil (2)", "informational": True}],
    "not_after": "2026-02-12T16:00:00Z",
}


def test_a_request(tmp_path: Path) -> None:
    file = tmp_path / "request.json"
    file.write_text(json.dumps(REQUEST))
    request = read_request(str(file))
    assert read_request(json.dumps(REQUEST)) == request, "the document itself, as a job's output carries it"
    assert request.publish == ("github:acme/firmware",)
    assert request.aggregate == "hardware"
    assert request.pairs[0] == Pair("hut-01", "hardware / hut-01", "i2s")
    assert request.pairs[1] == Pair("hut-02", "hil (2)", informational=True)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"commit_sha": SHA[:12]}, "commit_sha"),
        ({"commit_sha": SHA.upper()}, "commit_sha"),
        ({"pairs": []}, "pairs"),
        ({"pairs": [{"slot": "../etc"}]}, "slot"),
        ({"pairs": [{"slot": "hut-01"}, {"slot": "hut-01"}]}, "share the slot hut-01"),
        ({"pairs": [{"slot": "hut-01", "variant": "i2s"}] * 2}, "share the slot hut-01 / i2s"),
        ({"pairs": [{"slot": "hut-01", "variant": name} for name in ("muse", "Muse")]}, "share the slot hut-01 / muse"),
        ({"pairs": [{"slot": "hut-01", "context": "Hardware"}]}, "share the context Hardware"),
        ({"pairs": [{"slot": "hut-01", "context": "hardware"}]}, "share the context hardware"),
        ({"not_after": "tomorrow"}, "not_after"),
        ({"not_after": "2027-13-45T99:99Z"}, "not_after"),
        ({"builds": "ftp:x"}, "builds"),
        ({"pairs": [{"slot": "hut-01", "blocked": "because"}]}, "blocked"),
        ({"more": 1}, "more"),
        ({"run_url": "javascript:x"}, "run_url"),
    ],
)
def test_a_bad_request(change: dict[str, Any], says: str) -> None:
    with pytest.raises(ConfigError) as refused:
        from_document({**REQUEST, **change}, "request.json")
    assert says in refused.value.what


def test_a_request_that_cannot_be_read(tmp_path: Path) -> None:
    (tmp_path / "request.json").write_text("[" * 100_000)
    for name in ("request.json", "missing.json"):
        with pytest.raises(ConfigError, match="cannot be read as a request"):
            read_request(str(tmp_path / name))
    with pytest.raises(ConfigError, match="the request cannot be read as a request"):
        read_request("{" * 100_000)


def test_the_request_mirrors_its_schema() -> None:
    """Decision 12."""
    from dataclasses import fields

    from hut_ci.contracts import load_schema

    schema = load_schema("hut.request.v1")
    assert {entry.name for entry in fields(Request)} - {"digest"} == set(schema["properties"]) - {"schema_version"}
    assert {entry.name for entry in fields(Pair)} == set(schema["$defs"]["pair"]["properties"])


def test_the_example_is_a_request() -> None:
    request = read_request(str(Path(__file__).parents[2] / "examples" / "request.json"))
    assert [pair.slot for pair in request.pairs] == ["hut-01", "hut-02"]


def test_a_second_comment_of_two_jobs_at_once_does_not_grow_old() -> None:
    """Both looked before either spoke; from then on both comments say what is the case."""
    talk = Conversation(Comment("1", f"{MARKER}\nnew"), Comment("2", f"{MARKER}\nold"))
    assert upsert(talk, 12, "new", failed=False, when="auto", about="hardware") is True
    assert (talk.edited, talk.added) == ([(12, "2", f"{MARKER}\nnew")], [])
