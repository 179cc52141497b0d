"""Which run and which artifact: security 7 and 8, without a forge. Every "not there" has its own words."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hut_ci.errors import ArtifactError, BuildRunning
from hut_ci.model import ArtifactSelector, BuildJob, BuildProduct, BuildRun, BuildState
from hut_ci.stages.build_choice import NoRun, Wanted, check_run, choose_run
from hut_ci.stages.producer import check_producer, needs_jobs
from hut_ci.stages.product_choice import choose_product, name_pattern

SHA, OTHER = "a" * 40, "b" * 40
WORKFLOW = ".github/workflows/build.yml"
RUN = BuildRun("1", SHA, "push", BuildState.SUCCESS, "10", "10", WORKFLOW, branch="main", built_sha=SHA)
WANTED = Wanted(SHA, ArtifactSelector(workflow=WORKFLOW, name="firmware-{variant}-*"), "i2s")
RUNNING, FAILED, CANCELLED = BuildState.RUNNING, BuildState.FAILED, BuildState.CANCELLED
AWAITING, SKIPPED, SUCCESS = BuildState.AWAITING_APPROVAL, BuildState.SKIPPED, BuildState.SUCCESS


def run(number: int, **changes: object) -> BuildRun:
    return replace(RUN, id=str(number), **changes)  # type: ignore[arg-type]


def product(name: str, number: int = 1, **changes: object) -> BuildProduct:
    return replace(BuildProduct(str(number), name, 100, "sha256:" + "0" * 64), **changes)  # type: ignore[arg-type]


FORK = run(2, head_repository="66", head_name="mallory/firmware")


@pytest.mark.parametrize(
    ("runs", "chosen"),
    [
        ([RUN, run(2, head_sha=OTHER)], "1"),
        ([FORK, RUN], "1"),
        ([run(2, workflow=".github/workflows/lint.yml"), RUN], "1"),
        ([run(2, event="pull_request", built_sha=None), RUN], "1"),
        ([run(2, state=FAILED), RUN], "1"),
        ([run(2, state=FAILED), run(3, event="pull_request")], "2"),
        ([run(2, state=CANCELLED), run(3, event="pull_request")], "3"),
        ([run(2, state=RUNNING), run(3, event="pull_request")], "2"),
        ([run(2, event="pull_request_target"), RUN], "1"),
        ([run(2, event="workflow_run"), run(3, event="schedule")], "3"),
    ],
    ids=[
        "other commit",
        "fork",
        "other workflow",
        "push first",
        "success",
        "a failed push counts",
        "not called off",
        "waits",
        "target",
        "order",
    ],
)
def test_one_run_is_chosen_among_decoys(runs: list[BuildRun], chosen: str) -> None:
    assert choose_run(runs, WANTED).id == chosen
    assert choose_run(runs[::-1], WANTED).id == chosen


@pytest.mark.parametrize(
    ("runs", "says"),
    [
        ([], "no build has run for commit aaaaaaaaaaaa"),
        ([run(2, head_sha=OTHER)], "no build has run"),
        ([FORK], "only from a fork (mallory/firmware)"),
        ([run(2, workflow="x.yml"), run(3, workflow="y.yml")], "there are runs of x.yml, y.yml"),
        ([run(2, event="pull_request_target")], "built only by pull_request_target"),
        (
            [RUN, run(2, branch="v1")],
            "2 runs built commit aaaaaaaaaaaa: 1 (push, main, success), 2 (push, v1, success)",
        ),
    ],
)
def test_no_run_says_why(runs: list[BuildRun], says: str) -> None:
    with pytest.raises(ArtifactError) as refused:
        choose_run(runs, WANTED)
    assert says in refused.value.what
    assert refused.value.todo


def test_no_run_yet_is_told_apart() -> None:
    with pytest.raises(NoRun):
        choose_run([], WANTED)


def test_two_workflows_without_a_choice_are_refused() -> None:
    with pytest.raises(ArtifactError, match="runs of 2 workflows"):
        choose_run([RUN, run(2, workflow="lint.yml")], replace(WANTED, selector=ArtifactSelector()))


def test_a_fork_needs_leave() -> None:
    """Security 7; the negative control is the same run with leave."""
    assert choose_run([FORK], replace(WANTED, allow_fork=True)).id == "2"


def test_a_named_run_has_to_be_of_the_commit() -> None:
    assert check_run(RUN, WANTED) is RUN
    merge = run(3, event="pull_request", built_sha=OTHER)
    assert check_run(merge, WANTED) is merge
    with pytest.raises(ArtifactError, match=r"run 4 built bbbbbbbbbbbb, not aaaaaaaaaaaa"):
        check_run(run(4, head_sha=OTHER, built_sha=OTHER), WANTED)
    with pytest.raises(ArtifactError, match="only from a fork"):
        check_run(FORK, WANTED)
    with pytest.raises(ArtifactError, match="built only by pull_request_target"):
        check_run(run(5, event="pull_request_target"), WANTED)
    with pytest.raises(ArtifactError, match=r"no run of .github/workflows/build.yml"):
        check_run(run(6, workflow=".github/workflows/lint.yml"), WANTED)


@pytest.mark.parametrize(
    ("pattern", "names", "chosen"),
    [
        ("firmware-{variant}-*", ["firmware-i2s-7", "firmware-muse-7"], "firmware-i2s-7"),
        ("firmware-{variant}", ["firmware-i2s-7", "firmware-i2s"], "firmware-i2s"),
        ("fw-{short_sha}", ["fw-aaaaaaa", "fw-bbbbbbb"], "fw-aaaaaaa"),
        ("{sha}", [SHA, OTHER], SHA),
        ("fw-{branch}-*", ["fw-main-1", "fw-dev-1"], "fw-main-1"),
        ("*-I2S-*-16-*", ["sq-master-I2S-4MFlash-16-21716", "sq-master-I2S-4MFlash-32-21716"],
         "sq-master-I2S-4MFlash-16-21716"),
        (None, ["muse", "i2s", "i2s-map"], "i2s"),
        (None, ["muse-4m", "firmware-i2s-4m"], "firmware-i2s-4m"),
    ],
)  # fmt: skip
def test_names(pattern: str | None, names: list[str], chosen: str) -> None:
    wanted = replace(WANTED, selector=ArtifactSelector(name=pattern))
    assert choose_product(RUN, [product(name) for name in names], wanted).name == chosen


def test_a_branch_with_a_slash_is_found_without_it() -> None:
    wanted = replace(WANTED, selector=ArtifactSelector(name="fw-{branch}-*"))
    odd = replace(RUN, branch="refs/pull/12/merge")
    assert choose_product(odd, [product("fw-refspull12merge-7")], wanted).name == "fw-refspull12merge-7"


@given(st.text(alphabet="ab*", max_size=12), st.text(alphabet="ab", max_size=12))
def test_a_pattern_means_what_the_shell_means(pattern: str, name: str) -> None:
    import fnmatch

    wanted = replace(WANTED, selector=ArtifactSelector(name=pattern or "a"))
    fits = name_pattern(wanted, RUN)
    assert fits is not None
    assert fits(name) == fnmatch.fnmatchcase(name, pattern or "a")


@pytest.mark.parametrize(
    ("state", "products", "says"),
    [
        (SUCCESS, [], "no artifact firmware-{variant}-* in run 1"),
        (SUCCESS, [product("size-report")], "it has: size-report"),
        (FAILED, [product("firmware-muse-1")], "the build failed: no artifact"),
        (CANCELLED, [], "the build was cancelled"),
        (SKIPPED, [], "the build was skipped"),
        (AWAITING, [], "the build awaits approval"),
        (SUCCESS, [product("firmware-i2s-1", expired=True)], "has expired"),
        (
            SUCCESS,
            [product("firmware-i2s-1"), product("firmware-i2s-2", 2)],
            "2 artifacts of run 1 fit: firmware-i2s-1",
        ),
        (SUCCESS, [product("firmware-i2s-1"), product("firmware-i2s-1", 2)], "2 artifacts of run 1 fit"),
    ],
)
def test_no_artifact_says_why(state: BuildState, products: list[BuildProduct], says: str) -> None:
    with pytest.raises(ArtifactError) as refused:
        choose_product(replace(RUN, state=state), products, WANTED)
    assert says in refused.value.what
    assert not isinstance(refused.value, BuildRunning)


def test_a_running_build_may_still_bring_it() -> None:
    with pytest.raises(BuildRunning, match="still running"):
        choose_product(replace(RUN, state=RUNNING), [product("firmware-muse-1")], WANTED)


# --- attempts and jobs -------------------------------------------------------------------------------------

T = "2026-02-12T15:{:02d}:00.000Z".format
AGAIN = replace(RUN, attempt=2, started_utc=T(30))


def job(name: str, state: BuildState, start: int, end: int | None) -> BuildJob:
    return BuildJob(name, name, state, T(start), None if end is None else T(end))


def test_of_two_attempts_the_newest_artifact_counts() -> None:
    old, new = product("firmware-i2s-1", created_utc=T(10)), product("firmware-i2s-1", 2, created_utc=T(40))
    assert choose_product(AGAIN, [new, old], WANTED).id == "2"
    assert not needs_jobs(AGAIN, new)


def test_an_older_attempts_artifact_counts_only_with_its_job() -> None:
    """Starting the failed jobs again keeps those that succeeded, with their times; starting all makes them void."""
    old = product("firmware-i2s-1", created_utc=T(10))
    assert needs_jobs(AGAIN, old)
    check_producer(AGAIN, old, [job("build (i2s)", SUCCESS, 5, 11), job("build (muse)", SUCCESS, 31, 35)], WANTED)
    with pytest.raises(ArtifactError, match="left over from an earlier attempt"):
        check_producer(AGAIN, old, [job("build (i2s)", SUCCESS, 31, 36)], WANTED)


@pytest.mark.parametrize(
    ("jobs", "says"),
    [
        ([job("build", SUCCESS, 5, 11), job("hardware", RUNNING, 12, None)], None),
        ([job("build", FAILED, 5, 11)], "the job build, which made firmware-i2s-1, ended as failed"),
        ([job("build", CANCELLED, 5, 11)], "ended as cancelled"),
        ([job("build", RUNNING, 5, None)], "is still running"),
        ([job("build (i2s)", SUCCESS, 5, 11), job("build (muse)", FAILED, 5, 12)], None),
        ([job("build (i2s)", FAILED, 5, 11), job("build (muse)", SUCCESS, 5, 12)], "the job build (i2s)"),
        ([job("one", SUCCESS, 5, 11), job("two", FAILED, 5, 12)], "cannot be told"),
        ([job("docs (i2s)", SUCCESS, 5, 11), job("build", FAILED, 5, 12)], "cannot be told"),
        ([job("lint", SUCCESS, 5, 11), BuildJob("b", "build", FAILED, T(5), "2026-02-12T15:09:59.000Z")], "cannot be"),
        ([], "left over"),
    ],
    ids=[
        "same run",
        "failed",
        "cancelled",
        "running",
        "other leg failed",
        "own leg failed",
        "unclear",
        "no values",
        "ended as it appeared",
        "none",
    ],
)
def test_the_producing_job_is_judged(jobs: list[BuildJob], says: str | None) -> None:
    """Not the unfinished run that our own job is part of; one failed leg of a matrix does not block the others."""
    made = product("firmware-i2s-1", created_utc=T(10))
    unfinished = replace(RUN, state=RUNNING)
    assert needs_jobs(unfinished, made)
    if says is None:
        check_producer(unfinished, made, jobs, WANTED)
        return
    with pytest.raises(ArtifactError) as refused:
        check_producer(unfinished, made, jobs, WANTED)
    assert says in refused.value.what
    assert isinstance(refused.value, BuildRunning) == ("still running" in says)


def test_hut_yml_can_name_the_job() -> None:
    wanted = replace(WANTED, selector=ArtifactSelector(job="build ({variant})", name="*"))
    made = product("anything", created_utc=T(10))
    jobs = [job("build (i2s)", SUCCESS, 5, 11), job("build (muse)", FAILED, 5, 12)]
    check_producer(replace(RUN, state=FAILED), made, jobs, wanted)
    with pytest.raises(ArtifactError, match="left over from an earlier attempt"):
        check_producer(AGAIN, made, [job("build (i2s)", SUCCESS, 31, 35)], wanted)
    with pytest.raises(ArtifactError, match=r"no job build \({variant}\) in run 1; there are: build \(muse\)"):
        check_producer(replace(RUN, state=FAILED), made, jobs[1:], wanted)


def test_where_the_forge_names_the_job_it_alone_counts() -> None:
    good, bad = job("build: [i2s]", SUCCESS, 5, 11), job("build: [muse]", FAILED, 5, 12)
    wanted = replace(WANTED, selector=ArtifactSelector(job="build: [{variant}]"))
    offered = [product("x", job=good), product("y", 2, job=bad)]
    assert choose_product(RUN, offered, wanted).job is good
    check_producer(RUN, offered[0], (), wanted)
    with pytest.raises(ArtifactError, match="ended as failed"):
        check_producer(RUN, offered[1], (), wanted)


@pytest.mark.parametrize("pattern", [None, "firmware-{variant}-*", "firmware-{variant}*"])
def test_a_name_belongs_to_the_variant_that_says_most_of_it(pattern: str | None) -> None:
    """A leg that uploaded nothing is not replaced by that of `i2s-debug`."""
    wanted = replace(WANTED, selector=ArtifactSelector(name=pattern), others=("i2s-debug", "muse"))
    debug = product("firmware-i2s-debug-v1")
    with pytest.raises(ArtifactError, match="no artifact"):
        choose_product(RUN, [debug], wanted)
    assert choose_product(RUN, [debug, product("firmware-i2s-v1", 2)], wanted).id == "2"
    longer = replace(wanted, variant="i2s-debug", others=("i2s", "muse"))
    assert choose_product(RUN, [debug, product("firmware-i2s-v1", 2)], longer).id == "1"
