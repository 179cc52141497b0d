"""`--request`: the options of `hut-ci run` completed from a document."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from hut_ci.errors import UsageError

if TYPE_CHECKING:
    from hut_ci.model import Pair, Request


def completed(slot: str | None, options: dict[str, Any]) -> tuple[str | None, dict[str, Any]]:
    """Slot and options with what the request says; without `--request` only the repository's name is filled in.

    A job that is asked by a document answers with its report: it publishes nothing unless it is told to. Raises
    UsageError where the command line contradicts the document, ConfigError for a document that is not valid.
    """
    if options.get("request") is None:
        return slot, {**options, "repository": options["repository"] or _repository(options.get("forge"))}
    from hut_ci.stages.request import read_request

    request = read_request(options["request"])
    pair = _pair(request, slot, options.get("variant"))
    said = {
        "commit": request.commit_sha,
        "variant": pair.variant,
        "forge": request.builds,
        "run_id": request.run_id,
        "pull_request": request.pull_request,
        "repository": request.repository,
        "run_url": request.run_url,
    }
    for name, value in said.items():
        if options.get(name) is not None and value is not None and options[name] != value:
            raise UsageError(
                f"--{name.replace('_', '-')} {options[name]} contradicts the request, which says {value}",
                todo="leave the option out",
            )
    known = {name: value if value is not None else options.get(name) for name, value in said.items()}
    return pair.slot, {
        **options,
        **known,
        "repository": request.repository or options["repository"] or _repository(request.builds or options["forge"]),
        "publish": options["publish"] or ("none",),
        "allow_fork": options["allow_fork"] or request.forks_allowed,
        "skip_tested": options["skip_tested"] or request.skip_tested,
        "not_after": request.not_after,
        "base_ref": request.base_ref,
        "named_context": pair.context,
        "request_digest": request.digest,
    }


def _pair(request: Request, slot: str | None, variant: str | None) -> Pair:
    """The one pair that this job is about. Raises UsageError where slot and variant name none, or several."""
    found = [pair for pair in request.pairs if slot is None or slot in (pair.slot, pair.label)]
    if len(found) > 1:
        found = [pair for pair in found if pair.variant == variant]
    if len(found) == 1:
        return found[0]
    asked = ", ".join(dict.fromkeys(request.name_of(pair) for pair in request.pairs))
    raise UsageError(
        f"the request asks for {asked}, not for {' / '.join(filter(None, (slot, variant))) or 'any slot'}",
        why="each job answers for one slot, and one variant, of its request",
        todo="give one of them with --slot, and --variant where a slot has several",
    )


def _repository(forge: str | None) -> str | None:
    kind, _, name = (forge or "").partition(":")
    return name if kind in ("github", "gitlab") else None
