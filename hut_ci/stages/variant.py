"""Which of a project's variants a run is about."""

from __future__ import annotations

import difflib

from hut_ci.errors import UsageError
from hut_ci.model import Project, Variant


def choose_variant(project: Project, wanted: str | None) -> Variant:
    """The variant named `wanted`, or the only one; raises UsageError that lists them otherwise."""
    names = [variant.name for variant in project.variants]
    if wanted is None and len(names) == 1:
        return project.variants[0]
    for variant in project.variants:
        if variant.name == wanted:
            return variant
    if wanted is None:
        raise UsageError(
            f"this project has {len(names)} variants: {', '.join(names)}",
            why="one run tests one variant on one slot",
            todo=f"add `--variant {names[0]}`",
        )
    if project.path is None:
        raise UsageError(
            f"there is no hut.yml that could name a variant {wanted!r}",
            why="variants are written in hut.yml, which is looked for in the working directory",
            todo="start in the project's folder, give `--hut FILE`, or leave `--variant` out",
        )
    near = difflib.get_close_matches(wanted, names, 1)
    raise UsageError(
        f"hut.yml has no variant {wanted!r}",
        why=f"it names {', '.join(names)}",
        todo=f"did you mean `--variant {near[0]}`?" if near else "choose one of these",
    )
