"""`hut-ci runner-hook`: refuse every job that is not on the host's allow-list, before its first step."""

from __future__ import annotations

import os
from pathlib import Path

import click

from hut_ci.cli.composition import LAB_HELP
from hut_ci.errors import ConfigError, Refused

EXAMPLES = """
\b
Examples:
  hut-ci runner-hook
  hut-ci runner-hook --lab /etc/hut-ci/lab.yml

\b
In the runner's .env: ACTIONS_RUNNER_HOOK_JOB_STARTED=/etc/hut-ci/job-started.sh, a script that does
`exec hut-ci runner-hook` with no more than the job (examples/runner/job-started.sh).
"""


@click.command("runner-hook", epilog=EXAMPLES)
@click.option("--lab", type=click.Path(path_type=Path), help=LAB_HELP)
def command(lab: Path | None) -> None:
    """Let the job begin whose environment this is, or refuse it with exit code 9.

    lab.yml lists what may run: `runner: {allow: [{repository, workflow, refs, events}]}`. What is
    missing, odd or cannot be read is refused.
    """
    from hut_ci.cli.composition import lab_at
    from hut_ci.stages.job_started import check_job, started_job

    try:
        allowed = lab_at(lab).allowed_jobs
    except ConfigError as error:
        raise Refused(f"no job begins here: {error.what}", why=error.why, todo=error.todo) from error
    job = started_job(os.environ)
    check_job(job, allowed)
    click.echo(f"hut-ci: {job.repository} may run {job.workflow} from {job.workflow_ref} on {job.event}")
