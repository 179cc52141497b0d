"""A request as a GitLab pipeline: one job for each pair; what comes from outside stays data."""

from __future__ import annotations

import json
from typing import Any

import pytest
import yaml

from hut_ci.cli.child_pipeline import runner_tags
from hut_ci.errors import ConfigError
from hut_ci.reports.child_pipeline import INPUTS, INSTALL, MOST_BYTES, child_pipeline
from hut_ci.stages.request import from_document

HOSTILE = "$(touch pwned) `id` ${CI_JOB_TOKEN} $GITLAB_TOKEN \" ' \n- script: [id]\n\u202e::set-output:: <b>@all"


def document(*pairs: dict[str, Any], **more: Any) -> dict[str, Any]:
    asked = list(pairs) or [{"slot": "hut-01", "label": "esp32-hut-01", "variant": "i2s"}]
    return {
        "schema_version": "hut.request.v1",
        "commit_sha": "5e" * 20,
        "pairs": asked,
        "not_after": "2999-01-01T00:00:00Z",
        **more,
    }


def child(asked: dict[str, Any]) -> dict[str, Any]:
    """The jobs; the header before them names the inputs."""
    return documents(child_pipeline(from_document(asked, "request"), asked, ("docker",)))[1]


def documents(text: str) -> tuple[dict[str, Any], dict[str, Any]]:
    header, jobs = yaml.safe_load_all(text)
    return header, jobs


def jobs(found: dict[str, Any]) -> dict[str, Any]:
    return {name: job for name, job in found.items() if isinstance(job, dict) and "script" in job}


def test_each_pair_has_a_job_on_its_own_runner() -> None:
    found = child(document({"slot": "hut-01", "label": "bench.1"}, {"slot": "hut-02"}))
    first, second = found["hardware hut-01"], found["hardware hut-02"]
    assert (first["tags"], second["tags"]) == (["bench.1"], ["esp32-hut-02"])
    assert (first["resource_group"], second["resource_group"]) == ("hut-hut-01", "hut-hut-02")
    assert first["timeout"] == "10 minutes $[[ inputs.limit ]] seconds", (
        "longer than the run's own limit, whatever that is"
    )
    assert first["variables"]["HUT_CI_RUN_LIMIT"] == "$[[ inputs.limit ]]"
    assert first["artifacts"]["when"] == "always"
    assert first["artifacts"]["reports"]["junit"].startswith(first["artifacts"]["paths"][0])
    assert first["variables"]["HUT_CI_RUN_SLOT"] == "hut-01"


def test_a_slot_that_nobody_can_serve_has_no_job() -> None:
    """It would wait for a runner that is not there; whoever publishes answers for it."""
    found = child(document({"slot": "hut-01"}, {"slot": "hut-02", "blocked": "slot_quarantined"}))
    assert list(jobs(found)) == ["hardware hut-01", "report"]


def test_variants_on_one_slot_are_told_apart_and_share_its_resource_group() -> None:
    found = child(document({"slot": "hut-01", "variant": "i2s"}, {"slot": "hut-01", "variant": "muse"}))
    names = [name for name in jobs(found) if name.startswith("hardware")]
    assert names == ["hardware hut-01 / i2s", "hardware hut-01 / muse"]
    assert {found[name]["resource_group"] for name in names} == {"hut-hut-01"}
    assert [found[name]["variables"]["HUT_CI_RUN_VARIANT"] for name in names] == ["i2s", "muse"]


def test_only_the_job_that_answers_has_the_environment_and_it_always_runs() -> None:
    found = child(document())
    assert [name for name, job in jobs(found).items() if "environment" in job] == ["report"]
    assert found["report"]["environment"] == {"name": "$[[ inputs.environment ]]", "action": "access"}
    assert found["report"]["when"] == "always"
    assert found["stages"] == ["hardware", "report"]
    assert "needs" not in found["report"], "GitLab allows 50 needs, a request 64 pairs"


def test_the_text_reads_without_anchors() -> None:
    asked = document({"slot": "hut-01"}, {"slot": "hut-02"})
    assert "&id" not in child_pipeline(from_document(asked, "request"), asked)
    assert "&id" not in child_pipeline(None, None)


def test_what_the_job_that_answers_is_made_of_is_an_input() -> None:
    """The gate's variables may have been replaced: nothing of them is in the text, and no text of the request is."""
    asked = document({"slot": "hut-01", "context": "$[[ inputs.install ]] {slot}"}, repository="$[[ inputs.image ]]")
    text = child_pipeline(from_document(asked, "request"), asked)
    header, jobs = documents(text)
    assert header == {"spec": {"inputs": INPUTS}}
    assert (jobs["report"]["image"], jobs["report"]["variables"]["HUT_CI_INSTALL"]) == (
        "$[[ inputs.image ]]",
        "$[[ inputs.install ]]",
    )
    assert text.count("$[[") == 5, "the two above, the environment, and the limit twice"
    assert '"$[[ inputs.install ]]"' in text, "quoted: an empty one would be null"
    nothing = documents(child_pipeline(None, None))
    assert nothing[0] == header, "GitLab refuses inputs that are given and not declared"


def test_no_job_checks_anything_out() -> None:
    assert {job["variables"]["GIT_STRATEGY"] for job in jobs(child(document())).values()} == {"empty"}


def test_hostile_text_reaches_no_script_and_nothing_that_is_expanded() -> None:
    asked = document({"slot": "hut-01", "context": HOSTILE[:150]}, repository=HOSTILE, aggregate="$(id)")
    found = child(asked)
    scripts = {line for job in jobs(found).values() for line in (*job["script"], *job.get("before_script", ()))}
    assert scripts == {"hut-ci run", "hut-ci report publish", INSTALL}
    carried = found["variables"]["HUT_CI_RUN_REQUEST"]
    assert carried["expand"] is False
    assert "$" not in carried["value"]
    assert json.loads(carried["value"]) == asked
    rest = {key: value for key, value in found.items() if key != "variables"}
    assert "pwned" not in json.dumps(rest)
    assert set(found) == {"stages", "variables", "hardware hut-01", "report"}


@pytest.mark.parametrize("bad", ["a b", "$(id)", "", "-x", "x\n- y", "x" * 129, "é"])
def test_a_label_that_no_runner_can_have_is_refused(bad: str) -> None:
    if not bad:
        assert child(document({"slot": "hut-01", "label": bad}))["hardware hut-01"]["tags"] == ["esp32-hut-01"]
        return
    asked = document({"slot": "hut-01", "label": bad[:128]})
    if len(bad) > 128:
        assert child(asked)["hardware hut-01"]["tags"] == [bad[:128]]
        return
    with pytest.raises(ConfigError, match="is no label that a job can have"):
        child(asked)


@pytest.mark.parametrize("bad", ["a b", "$(id)", "-x", "x\n- y", "é", "x" * 65])
def test_a_variant_that_hut_yml_cannot_have_is_refused(bad: str) -> None:
    with pytest.raises(ConfigError, match="is no variant that a job can have"):
        child(document({"slot": "hut-01", "variant": bad}))


def test_a_request_that_no_variable_holds_is_refused() -> None:
    pairs = [{"slot": f"hut-{n}", "context": "\u202e" * 190 + str(n)} for n in range(64)]
    assert len(json.dumps(document(*pairs))) < MOST_BYTES
    child(document(*pairs))
    wide = [{**pair, "context": "\U0001f600" * 190 + str(n)} for n, pair in enumerate(pairs)]
    with pytest.raises(ConfigError, match="too long for a variable"):
        child(document(*wide))


def test_without_a_request_the_child_still_has_a_job() -> None:
    found = documents(child_pipeline(None, None))[1]
    assert list(found) == ["nothing to test"]
    assert found["nothing to test"]["script"] == ["true"]


@pytest.mark.parametrize(
    ("text", "tags"),
    [
        ('["docker", "linux"]', ("docker", "linux")),
        ("", ()),
        ("[]", ()),
        ("docker", ()),
        ("{}", ()),
        ('[1, "a"]', ("a",)),
    ],
)
def test_the_tags_of_our_own_runner(text: str, tags: tuple[str, ...]) -> None:
    assert runner_tags(text) == tags
