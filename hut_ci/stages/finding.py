"""Something that happened on a forge and may ask for a run."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from typing import Any

from hut_ci.stages.spoken import Command
from hut_ci.stages.trigger import Event


@dataclass(frozen=True, slots=True)
class Finding:
    """`id` is the same however often it is found. On one `line` (`branch:main`, `pull:12`) newer commits supersede
    older ones. `at` is an instant of the forge's clock, `url` a page where more is told.
    """

    id: str
    line: str
    event: Event
    at: str = ""
    url: str | None = None


def to_text(finding: Finding) -> str:
    return json.dumps(asdict(finding))


def from_text(text: str) -> Finding:
    """What `to_text` wrote. Raises ValueError, KeyError or TypeError for anything else."""
    values: dict[str, Any] = json.loads(text)
    event = dict(values.pop("event"))
    command = dict(event.pop("command"))
    command["names"] = tuple(command["names"])
    return Finding(event=Event(command=Command(**command), **event), **values)
