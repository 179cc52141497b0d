"""What whoever asked for a run is told where they asked."""

from __future__ import annotations

from hut_ci.errors import HutCiError
from hut_ci.reports.escaping import cut, markdown_text


def refusal(error: HutCiError) -> str:
    """Why there is none, as Markdown; what names people or commands in it is broken up."""
    parts = [f"Not tested: {error.what}"]
    parts += [f"Why: {error.why}"] if error.why else []
    parts += [f"What to do: {error.todo}"] if error.todo else []
    return "\n\n".join(markdown_text(cut(part, 600)) for part in parts)
