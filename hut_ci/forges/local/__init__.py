"""The forge that is a folder: builds by commit in `artifacts/`, commit statuses in `statuses/`; needs no network."""

from hut_ci.forges.local.artifacts import find_artifact
from hut_ci.forges.local.forge import LocalForge
from hut_ci.forges.local.statuses import Status

__all__ = ["LocalForge", "Status", "find_artifact"]
