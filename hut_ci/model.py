"""The frozen values that cross rooms. Imports nothing of ours.

Offsets and sizes are bytes, times are seconds, instants are ISO-8601 UTC strings that end in `Z`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path


class Lane(StrEnum):
    UPSTREAM = "upstream"
    LOCAL_HIL = "local-hil"


class VerdictName(StrEnum):
    PASS = "pass"  # noqa: S105 (a verdict, not a password)
    FAIL = "fail"
    ERROR = "error"
    CANCELLED = "cancelled"
    BLOCKED = "blocked"


class Step(StrEnum):
    """What may come between two attempts, weakest first; `golden` asks a known-good image who is to blame."""

    RESET = "reset"
    REFLASH = "reflash"
    POWER_CYCLE = "power_cycle"
    GOLDEN = "golden"


# --- lab.yml ---------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Facts:
    """What is known of a board; None means unknown, `psram=0` means none fitted."""

    chip: str = "esp32"
    revision: tuple[int, int] | None = None
    flash: int | None = None
    psram: int | None = None
    mac: str | None = None
    tags: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class PowerSettings:
    """How a slot's power is switched; `backend` is `home_assistant`, `command` or `none`.

    `proof` is what shows that power really went: `port`, `banner` or `none` (see stages/power_cycle.py).
    `command` maps `on`, `off` and `state` to argv lists. `group` names slots that share one plug.
    """

    backend: str = "none"
    entity: str | None = None
    command: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    group: str | None = None
    off_seconds: float = 2.0
    on_seconds: float = 1.0
    cooldown_seconds: float = 30.0
    retries: int = 1
    proof: str = "none"
    timeout_seconds: float = 15.0


@dataclass(frozen=True, slots=True)
class HomeAssistant:
    """Where the relays live; the token comes from `token_file` (0600) or the named environment variable."""

    url: str
    token_file: Path | None = None
    token_env: str = "HASS_TOKEN"  # noqa: S105 (the variable's name)
    domains: tuple[str, ...] = ("switch", "input_boolean", "light", "outlet")


@dataclass(frozen=True, slots=True)
class Slot:
    id: str
    label: str
    serial: tuple[str, ...]
    facts: Facts = Facts()
    baud: int = 921600
    power: PowerSettings = PowerSettings()
    golden: Path | None = None
    quarantined: str | None = None


@dataclass(frozen=True, slots=True)
class AllowedJob:
    """Jobs that may begin on this host's runners: `refs` are full refs of the workflow file, `*` within one part."""

    repository: str
    workflow: str
    refs: tuple[str, ...]
    events: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Watched:
    """A repository that `hut-ci watch` looks at, and what it may ask of this lab.

    `address` is `github:OWNER/NAME` or `gitlab:GROUP/NAME`. `branches` are those whose pushes count, `*` within one
    part. `slots` names slots as `--slot` does, none are all. `hours` are minutes of the local day, from and to.
    `baseline` is a build that is written to the whole flash before and after each run.
    """

    address: str
    branches: tuple[str, ...] = ("main", "master")
    events: tuple[str, ...] = ("push", "label", "comment")
    forks: str = "never"
    slots: tuple[str, ...] = ()
    hours: tuple[int, int] | None = None
    max_runs_per_day: int = 200
    baseline: Path | None = None


@dataclass(frozen=True, slots=True)
class Lab:
    name: str
    lock_dir: Path
    state_dir: Path
    slots: tuple[Slot, ...]
    path: Path
    home_assistant: HomeAssistant | None = None
    redact: tuple[str, ...] = ()
    log_limit: int = 8 << 20
    cache_limit: int = 2 << 30
    max_run_seconds: float = 1800.0
    allowed_jobs: tuple[AllowedJob, ...] = ()
    projects: tuple[Watched, ...] = ()
    spool_dir: Path | None = None

    @property
    def spool(self) -> Path:
        """Where `hut-ci watch` hands requests and reports over."""
        return self.spool_dir or self.state_dir / "spool"

    def watched(self, address: str | None) -> Watched | None:
        return next((project for project in self.projects if project.address == address), None)

    def slot(self, slot_id: str) -> Slot | None:
        return next((slot for slot in self.slots if slot.id == slot_id), None)


# --- hut.yml ---------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Needs:
    """What a build asks of a board; None asks nothing."""

    chip: str | None = None
    flash: int | None = None
    psram: int | None = None
    tags: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class ArtifactSelector:
    """Which build product to take: by `workflow` (GitHub), `job` (the one that made it) and a `name` pattern.

    `events` are GitHub's events or GitLab's pipeline sources that a build may come from, the best first; empty
    means the usual ones.
    """

    workflow: str | None = None
    job: str | None = None
    name: str | None = None
    path: str | None = None
    events: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Variant:
    name: str
    needs: Needs = Needs()
    artifact: ArtifactSelector | None = None


@dataclass(frozen=True, slots=True)
class FlashSettings:
    """`erase` is `keep`, `all` or partition names; `offsets` maps file names to byte offsets."""

    mode: str = "keep"
    freq: str = "keep"
    size: str = "keep"
    baud: int | None = None
    erase: tuple[str, ...] = ("keep",)
    offsets: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Expect:
    """Wait up to `within` seconds for a line that matches `line` (RE2, searched), then send `send`.

    Either may be None: a step without a line sends at once.
    """

    line: str | None
    within: float = 10.0
    send: str | None = None
    name: str = ""


@dataclass(frozen=True, slots=True)
class Forbid:
    """A line that fails the run: `name` switches it off, `evidence` is its row in the evidence table."""

    name: str
    line: str
    evidence: str = "forbidden_line"


@dataclass(frozen=True, slots=True)
class Suite:
    """What a passing board prints. `off` names built-in rules that this project switches off.

    Without `expect`, the run passes when an application has started and stays healthy for `settle` seconds.
    `require` may hold `app` (partition label), `version`, `project`, `elf_sha256`.
    """

    expect: tuple[Expect, ...] = ()
    forbid: tuple[Forbid, ...] = ()
    off: frozenset[str] = frozenset()
    max_reboots: int = 0
    settle: float = 3.0
    boot_within: float = 10.0
    baud: int = 115200
    require: Mapping[str, str] = field(default_factory=dict)
    retry_failures: int = 0


@dataclass(frozen=True, slots=True)
class Project:
    """hut.yml; `path` is None for the built-in defaults."""

    artifact: ArtifactSelector = ArtifactSelector()
    variants: tuple[Variant, ...] = (Variant("default"),)
    flash: FlashSettings = FlashSettings()
    suite: Suite = Suite()
    path: Path | None = None
    digest: str | None = None


# --- firmware --------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Partition:
    label: str
    type: str
    subtype: str
    offset: int
    size: int
    readonly: bool = False


@dataclass(frozen=True, slots=True)
class AppDescriptor:
    """esp_app_desc_t of one image; `elf_sha256` is None where the build left it all zero."""

    project: str
    version: str
    idf: str
    compiled: str
    elf_sha256: str | None
    offset: int
    label: str | None = None


@dataclass(frozen=True, slots=True)
class Part:
    """One file to write at `offset`; `purpose` is bootloader, partition_table, otadata, app, data or erase."""

    offset: int
    path: Path
    size: int
    sha256: str
    purpose: str
    name: str


@dataclass(frozen=True, slots=True)
class FlashPlan:
    """Parts in ascending order. `kept` and `erased` name the data partitions that survive and that do not.

    `min_revision`/`max_revision` are (major, minor) chip revisions that the images demand.
    """

    parts: tuple[Part, ...]
    chip: str
    source_format: str
    mode: str = "keep"
    freq: str = "keep"
    size: str = "keep"
    flash_needed: int = 0
    erase_all: bool = False
    partitions: tuple[Partition, ...] = ()
    kept: tuple[str, ...] = ()
    erased: tuple[str, ...] = ()
    apps: tuple[AppDescriptor, ...] = ()
    min_revision: tuple[int, int] | None = None
    max_revision: tuple[int, int] | None = None
    needs_psram: bool = False
    notes: tuple[str, ...] = ()

    @property
    def bytes_total(self) -> int:
        return sum(part.size for part in self.parts)


@dataclass(frozen=True, slots=True)
class Artifact:
    """Where the firmware came from; `source` is `upstream_artifact`, `rebuild` or `local`.

    `built_sha` is what the build had checked out: `commit_sha` itself, a pull request's merge commit, or None where
    the forge does not tell. `event` and `attempt` are the build run's. `cached` says that nothing was downloaded.
    """

    source: str
    name: str
    digest: str
    path: Path
    forge: str = "local"
    run_id: str | None = None
    artifact_id: str | None = None
    commit_sha: str | None = None
    built_sha: str | None = None
    run_url: str | None = None
    event: str | None = None
    attempt: int | None = None
    size: int | None = None
    cached: bool = False
    notes: tuple[str, ...] = ()


# --- builds on a forge -----------------------------------------------------------------------------------


class BuildState(StrEnum):
    RUNNING = "running"
    SUCCESS = "success"
    FAILED = "failed"
    CANCELLED = "cancelled"
    SKIPPED = "skipped"
    AWAITING_APPROVAL = "awaiting approval"


@dataclass(frozen=True, slots=True)
class BuildRun:
    """One workflow run (GitHub) or pipeline (GitLab), as it is now.

    `head_sha` is the commit that the forge files it under, `built_sha` what was checked out if that is known.
    `repository` and `head_repository` are the forge's own ids: they differ for a fork. `started_utc` is the start
    of the latest attempt.
    """

    id: str
    head_sha: str
    event: str
    state: BuildState
    repository: str
    head_repository: str
    workflow: str = ""
    attempt: int = 1
    branch: str | None = None
    url: str | None = None
    started_utc: str | None = None
    built_sha: str | None = None
    head_name: str = ""


@dataclass(frozen=True, slots=True)
class BuildJob:
    """One job of a run's latest attempt; `ended_utc` is None while it runs."""

    id: str
    name: str
    state: BuildState
    started_utc: str | None = None
    ended_utc: str | None = None


@dataclass(frozen=True, slots=True)
class BuildProduct:
    """One artifact of a run: `digest` is `sha256:…` or None, `size` in bytes; `job` made it, where the forge tells."""

    id: str
    name: str
    size: int
    digest: str | None = None
    expired: bool = False
    created_utc: str | None = None
    job: BuildJob | None = None


@dataclass(frozen=True, slots=True)
class PullRequest:
    """A pull or merge request: its head now, the branch that it goes into, and whether it comes from a fork."""

    number: int
    head_sha: str
    base_ref: str
    open: bool = True
    from_fork: bool = True


# --- the request -----------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Pair:
    """One variant on one slot; `context` is where its status stands, an informational one has no say in the whole.

    `blocked` names the evidence that nothing can run there now.
    """

    slot: str
    context: str
    variant: str | None = None
    label: str | None = None
    informational: bool = False
    blocked: str | None = None


@dataclass(frozen=True, slots=True)
class Request:
    """hut.request.v1: what the lab is asked, and where its answer goes.

    `not_after` is an instant; `digest` tells one request from another, and is None where no document was read.
    """

    commit_sha: str
    pairs: tuple[Pair, ...]
    not_after: str
    repository: str | None = None
    builds: str | None = None
    publish: tuple[str, ...] = ()
    pull_request: int | None = None
    base_ref: str | None = None
    run_id: str | None = None
    run_url: str | None = None
    aggregate: str | None = "hardware"
    forks_allowed: bool = False
    skip_tested: bool = False
    digest: str | None = None

    def shares_slot(self, pair: Pair) -> bool:
        """Whether another variant is to run on the pair's slot, too: its name alone does not tell them apart then."""
        return sum(other.slot == pair.slot for other in self.pairs) > 1

    def name_of(self, pair: Pair) -> str:
        """What a reader calls the pair: its slot, with the variant where the slot has several."""
        return f"{pair.slot} / {pair.variant}" if self.shares_slot(pair) and pair.variant else pair.slot


# --- claim, evidence, attempts ---------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Holder:
    """The note in a lock file: who holds a slot, and what for. `deadline_utc` may be None."""

    pid: int
    user: str
    host: str
    since_utc: str
    why: str = ""
    run_url: str | None = None
    repository: str | None = None
    commit_sha: str | None = None
    deadline_utc: str | None = None


@dataclass(frozen=True, slots=True)
class Claim:
    """Exclusive hold on a slot: only `claims/` makes one, every board operation asks for one.

    `lock_fd` is the held descriptor, which the power guardian alone may inherit.
    """

    slot_id: str
    holder: Holder
    lock_path: Path
    lock_fd: int


@dataclass(frozen=True, slots=True)
class Evidence:
    """What was observed: the id of a row in stages/evidence.yml and the words that fill its sentence."""

    id: str
    fields: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Board:
    """What the chip says of itself, read before anything is written."""

    chip: str
    mac: str | None = None
    revision: tuple[int, int] | None = None
    flash: int | None = None
    psram: int | None = None
    description: str = ""


@dataclass(frozen=True, slots=True)
class FlashResult:
    """`evidence` is None when every byte of the plan is on the chip."""

    evidence: Evidence | None
    board: Board | None = None
    baud: int = 0
    written: int = 0
    skipped: int = 0
    seconds: float = 0.0
    log: Path | None = None


@dataclass(frozen=True, slots=True)
class Boot:
    """Which application started, as the board's own log tells it."""

    reset_reason: str | None = None
    partition: str | None = None
    app_offset: int | None = None
    project: str | None = None
    version: str | None = None
    compiled: str | None = None
    elf_sha256: str | None = None
    idf: str | None = None


@dataclass(frozen=True, slots=True)
class Case:
    """One checked statement of the suite; `outcome` is pass, fail, error or skipped."""

    name: str
    outcome: str
    seconds: float = 0.0
    reason: str = ""


@dataclass(frozen=True, slots=True)
class SuiteResult:
    evidence: Evidence
    boot: Boot = Boot()
    reboots: int = 0
    cases: tuple[Case, ...] = ()
    last_lines: tuple[str, ...] = ()
    log: Path | None = None
    seconds: float = 0.0


@dataclass(frozen=True, slots=True)
class PowerResult:
    """`result` is the seed's enum: ok, timeout or ha_error; `detail` is the code of the exact case.

    `proven` is False where the slot has no proof, or where it did not show.
    """

    result: str
    detail: str = ""
    proven: bool = False
    seconds: float = 0.0
    text: str = ""


@dataclass(frozen=True, slots=True)
class StageRecord:
    """One stage of one attempt; `outcome` is ok or the id of the evidence it ended with."""

    name: str
    start_utc: str
    seconds: float
    outcome: str
    reason: str = ""


@dataclass(frozen=True, slots=True)
class RecoveryEvent:
    """A step taken because of `cause` (an evidence id); `restoring` marks the one after a final failure."""

    step: str
    start_utc: str
    seconds: float
    outcome: str
    cause: str
    detail: str = ""
    restoring: bool = False


@dataclass(frozen=True, slots=True)
class Attempt:
    number: int
    stages: tuple[StageRecord, ...]
    evidence: Evidence
    flash: FlashResult | None = None
    suite: SuiteResult | None = None


@dataclass(frozen=True, slots=True)
class Verdict:
    """The end of a run: `sentence` is the status text before any forge's length limit."""

    name: VerdictName
    exit_code: int
    sentence: str
    evidence: Evidence
    recovered: bool = False
    flaky: bool = False
    timed_out: bool = False


@dataclass(frozen=True, slots=True)
class Report:
    """Everything that one run yields; reports/ turns it into JSON, JUnit, Markdown and status text."""

    job_id: str
    start_utc: str
    end_utc: str
    seconds: float
    verdict: Verdict
    lane: Lane = Lane.LOCAL_HIL
    agent_role: str = "runner"
    slot: str | None = None
    label: str | None = None
    lab: str | None = None
    variant: str | None = None
    lock_key: str = ""
    commit_sha: str | None = None
    built_sha: str | None = None
    repository: str | None = None
    artifact: Artifact | None = None
    plan: FlashPlan | None = None
    board: Board | None = None
    attempts: tuple[Attempt, ...] = ()
    recovery: tuple[RecoveryEvent, ...] = ()
    power_cycles: int = 0
    logs: Mapping[str, str] = field(default_factory=dict)
    request_digest: str | None = None
    project_digest: str | None = None
    project_changed: bool = False
    notes: tuple[str, ...] = ()
    partial: bool = False
