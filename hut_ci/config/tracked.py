"""Whether the lab's own file has been put under version control, where it would say what a house has to switch."""

from __future__ import annotations

from pathlib import Path

from hut_ci import process
from hut_ci.deadline import Deadline

GIT_SECONDS = 20.0


def tracked_by_git(path: Path) -> bool:
    """Whether git tracks `path`, or the file that it is a link to. False without git, or outside a repository."""
    return any(_tracked(name) for name in {path.absolute(), path.resolve()})


def _tracked(path: Path) -> bool:
    # The repository may be another user's: git refuses to read it unless told, and no program that it names is run.
    settings = ["-c", "safe.directory=*", "-c", "core.fsmonitor=false"]
    try:
        with process.private_folder() as home:
            done = process.run(
                ["git", *settings, "ls-files", "--error-unmatch", "--", path.name],
                deadline=Deadline(GIT_SECONDS),
                cwd=path.parent,
                env=process.clean_environment(home, GIT_CONFIG_NOSYSTEM="1"),
            )
    except OSError:
        return False
    return done.returncode == 0
