"""A run in which secrets are planted in every text that a board, a build, a relay or an operator can write."""

import dataclasses
from pathlib import Path

from report_samples import PANIC_LOG, attempt, event, report

from hut_ci.model import Artifact, Boot, Case, Evidence, Report
from hut_ci.stages.verdict import judge

SECRETS = ["hass-token-CANARY1", 'quote"slash\\Grüße-CANARY2']
PATTERNS = ["home-wifi-CANARY3", "re:psk=\\S+"]
CANARIES = [*SECRETS, "home-wifi-CANARY3", "psk=CANARY4", "192.168.77.99", "canary5@example.org"]


def planted(folder: Path) -> tuple[Report, Path]:
    """The report, and a raw log."""
    words = " ".join(CANARIES)
    log = folder / "serial-1.log"
    log.write_bytes(f"I (1) wifi: {words}\n".encode() + b"\xff\xfe\n")
    evidence = Evidence("missing_line", {"within": "5", "expected": words})
    watched = attempt(1, evidence, lines=(*PANIC_LOG, *CANARIES))
    assert watched.suite is not None
    suite = dataclasses.replace(
        watched.suite,
        cases=(*(Case(canary, "fail", 1.0, words) for canary in CANARIES), Case("x", "fail", 1.0, words)),
        boot=Boot(version=words, project=words, partition=words),
    )
    stages = tuple(dataclasses.replace(stage, reason=words, name=words) for stage in watched.stages)
    made = report(
        judge(evidence),
        attempts=(dataclasses.replace(watched, suite=suite, stages=stages),),
        recovery=(dataclasses.replace(event("power_cycle", "no_sync"), detail=words, outcome=words),),
        artifact=Artifact("local", words, "sha256:00", folder, run_url=words),
        notes=tuple(CANARIES),
        label=words,
        lab=words,
        repository=words,
        logs={"serial": "serial-1.log"},
    )
    return made, log
