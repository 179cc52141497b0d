"""`hut-ci demo`: the whole path on four virtual boards, from artifact to commit status."""

from __future__ import annotations

import hashlib
from pathlib import Path

import click

PASSING, PANICKING = "demo", "demo-panics"
SHA = hashlib.sha1(b"the commit of the demo", usedforsecurity=False).hexdigest()
# slot → what happens there: faults of the board, the build it gets, and the verdict that has to come out
STORIES = {
    "hut-01": ((), PASSING, "pass"),
    "hut-02": (("needs_power_cycle",), PASSING, "pass"),
    "hut-03": ((), PANICKING, "fail"),
    "hut-04": (("silent",), PASSING, "error"),
}
EXAMPLES = """
\b
Examples:
  hut-ci demo
  hut-ci demo --out /tmp/demo     keep the four reports there
"""


@click.command("demo", epilog=EXAMPLES)
@click.option(
    "--out",
    type=click.Path(path_type=Path),
    default=Path("hut-ci-out/demo"),
    show_default=True,
    help="Folder for the reports.",
)
def command(out: Path) -> int:
    """Run four boards side by side, no hardware and no network needed.

    One board passes, one answers only after a power cycle, one gets a firmware that panics,
    and one never answers: a lab error, which is not the firmware's fault. The boards are
    virtual, but esptool, the locks, the relay's REST calls and the reports are the real ones.
    """
    import tempfile

    from hut_ci.cli.answers import show_answers
    from hut_ci.cli.composition import from_here
    from hut_ci.cli.several import Job, run_jobs
    from hut_ci.virtual.lab import VirtualLab

    out = out.absolute()
    with tempfile.TemporaryDirectory(prefix="hut-ci-demo-") as folder:
        forge = Path(folder) / "forge"
        hut = _write_project(Path(folder))
        _publish_builds(forge / "artifacts" / SHA)
        faults = {slot: story[0] for slot, story in STORIES.items()}
        click.echo(f"{len(STORIES)} virtual boards; commit {SHA[:12]} with two builds: {PASSING}, {PANICKING}\n")
        with VirtualLab(slots=len(STORIES), folder=Path(folder) / "lab", faults=faults) as lab:
            jobs = [
                Job(slot, _arguments(slot, variant, lab=lab.lab_yml, hut=hut, forge=forge), out / slot)
                for slot, (_, variant, _) in STORIES.items()
            ]
            answers = run_jobs(jobs)
        show_answers(answers)
        click.echo(f"look:   hut-ci report show {from_here(out / 'hut-03')}\n")
        _show_statuses(forge)
    verdicts = {answer.name: answer.document["hardware"]["verdict"]["name"] for answer in answers if answer.document}
    return 0 if verdicts == {slot: story[2] for slot, story in STORIES.items()} else 70


def _arguments(slot: str, variant: str, *, lab: Path, hut: Path, forge: Path) -> tuple[str, ...]:
    where = ("--lab", str(lab), "--hut", str(hut), "--forge", f"local:{forge}")
    return (*where, "--slot", slot, "--variant", variant, "--commit", SHA)


def _write_project(folder: Path) -> Path:
    """The hut.yml of the demo's firmware: two variants, and what a good boot prints."""
    hut = folder / "hut.yml"
    hut.write_text(
        f"""variants:
  {PASSING}: {{needs: {{chip: esp32}}}}
  {PANICKING}: {{needs: {{chip: esp32}}}}
suite:
  expect:
    - {{line: "network: got an address", within: 10}}
    - {{line: "player: ready", within: 10, send: status}}
    - "status: all good"
"""
    )
    return hut


def _publish_builds(commit: Path) -> None:
    """What the upstream lane would have built: one firmware that works, one that panics."""
    from hut_ci.virtual.app_script import Log, Panic, Reply, Script, Wait
    from hut_ci.virtual.images import build_folder

    start = (Wait(0.2), Log("got an address", tag="network"))
    good = Script((*start, Log("ready", tag="player"), Reply("status", "status: all good")))
    bad = Script((*start, Wait(0.1), Panic("LoadProhibited")))
    size = 256 << 10
    build_folder(commit / PASSING, project=PASSING, version="1.2.0", script=good, app_size=size)
    build_folder(commit / PANICKING, project=PANICKING, version="1.2.0", script=bad, app_size=size, seed=1)


def _show_statuses(forge: Path) -> None:
    from hut_ci.forges.local import LocalForge

    click.echo(f"commit status of {SHA[:12]}:")
    for status in LocalForge(forge).statuses(SHA):
        click.echo(f"  {status.state:8} {status.context:22} {status.description}")
