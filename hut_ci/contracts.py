"""The published contracts: JSON Schema 2020-12 files in schemas/, found by file name, read offline.

The only module that imports jsonschema. A schema's `title`, `description` and `examples` are its documentation and
become the words of its refusals.
"""

from __future__ import annotations

import difflib
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import TYPE_CHECKING, Any

from hut_ci.errors import ConfigError
from hut_ci.yaml_lines import printable

if TYPE_CHECKING:
    from jsonschema import Draft202012Validator, ValidationError
    from referencing import Registry, Resource

# In a pattern: an escape, a character class, or the dollar that ends a text.
_TOKENS = re.compile(r"\\.|\[(?:\\.|[^\]\\])*\]|\$")
_IN_PYTHON = {"$": r"\Z", r"\d": "[0-9]"}

_WORD = {
    "string": "text",
    "integer": "a whole number",
    "number": "a number",
    "array": "a list",
    "object": "a mapping",
    "boolean": "true or false",
    "null": "empty",
}
_BOUND = {
    "minimum": "at least",
    "exclusiveMinimum": "more than",
    "maximum": "at most",
    "exclusiveMaximum": "less than",
}
_COUNT = {
    "minItems": ("at least", "entries"),
    "maxItems": ("at most", "entries"),
    "minProperties": ("at least", "entries"),
    "maxProperties": ("at most", "entries"),
    "minLength": ("at least", "characters"),
    "maxLength": ("at most", "characters"),
}


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing that is wrong at `path` (keys and list positions from the top of the document)."""

    path: tuple[str | int, ...]
    message: str
    why: str = ""
    todo: str = ""

    @property
    def where(self) -> str:
        """`slots.hut-02.serial[1]`, safe to print."""
        steps = "".join(f"[{step}]" if isinstance(step, int) else f".{_short(step)}" for step in self.path)
        return steps.removeprefix(".")

    def __str__(self) -> str:
        return f"{self.where}: {self.message}" if self.path else self.message


def schema_names() -> list[str]:
    """Names of all contracts, such as `hut.lab.v1`."""
    folder = files("hut_ci") / "schemas"
    return sorted(entry.name.removesuffix(".json") for entry in folder.iterdir() if entry.name.endswith(".json"))


@cache
def load_schema(name: str) -> Mapping[str, Any]:
    """The schema of schemas/`name`.json. Raises ConfigError for a name that does not exist."""
    if name not in schema_names():
        raise ConfigError(
            f"no schema is named {_short(name)}",
            why="the document names a contract of another version, or the name is misspelt",
            todo=nearest(name, schema_names()),
        )
    schema: dict[str, Any] = json.loads((files("hut_ci") / "schemas" / f"{name}.json").read_text("utf-8"))
    return schema


def check(document: Any, name: str) -> list[Problem]:
    """Everything in `document` that contradicts the schema `name`, in document order; empty when it is valid."""
    return [problem for error in _validator(name).iter_errors(document) for problem in _problems(error, name)]


def nearest(word: str, valid: Sequence[str]) -> str:
    """Advice that names the valid word closest to `word`, or all of them."""
    lowered = {candidate.lower(): candidate for candidate in valid}
    found = difflib.get_close_matches(word.lower(), lowered, n=1, cutoff=0.6)
    return f'did you mean "{lowered[found[0]]}"?' if found else f"valid here: {', '.join(valid)}"


@cache
def _registry() -> Registry[Any]:
    from referencing import Registry

    def by_file_name(uri: str) -> Resource[Any]:
        name = uri.rpartition("/")[2].partition("#")[0].removesuffix(".json")
        return _resource(name)

    registry: Registry[Any] = Registry(retrieve=by_file_name)  # type: ignore[call-arg]  # attrs alias unknown to mypy
    known = [_resource(name) for name in schema_names()]
    return known @ registry


@cache
def _validator(name: str) -> Draft202012Validator:
    from jsonschema import Draft202012Validator

    return Draft202012Validator(_for_python(load_schema(name)), registry=_registry())


def _for_python(node: Any) -> Any:
    """A schema whose patterns mean to Python what the standard says, which takes them from ECMA 262.

    There `$` is the end alone, and `\\d` the ten ASCII digits; Python's `$` lets a newline follow: `hut-01\\n`.
    """
    if isinstance(node, list):
        return [_for_python(inner) for inner in node]
    if not isinstance(node, dict):
        return node
    return {
        key: _TOKENS.sub(lambda token: _IN_PYTHON.get(token[0], token[0]), inner)
        if key == "pattern" and isinstance(inner, str)
        else _for_python(inner)
        for key, inner in node.items()
    }


def _problems(error: ValidationError, name: str) -> Iterator[Problem]:
    path = tuple(error.absolute_path)
    why = _description(error, name)
    keyword = str(error.validator)
    instance: Any = error.instance
    bound: Any = error.validator_value
    schema: Any = error.schema
    if keyword == "type" and not path and "properties" in schema:
        keys = [*schema.get("required", ()), *schema["properties"]]
        why = f"at the top of the document are its keys: {', '.join(dict.fromkeys(keys))}"
        yield Problem((), _words(error, keyword, why)[0], why, f"begin with a key, such as `{keys[0]}:`")
    elif keyword in ("anyOf", "oneOf") and error.context:
        yield from _branch(error, name)
    elif keyword == "additionalProperties" and bound is False:
        known = list(schema.get("properties", {}))
        for key in instance:
            if key not in known:
                yield Problem((*path, key), UNKNOWN_KEY, _UNKNOWN_WHY, nearest(key, known))
    elif keyword == "required":
        for key in bound:
            if key not in instance and f"{key!r}" in error.message:
                meant = schema.get("properties", {}).get(key, {}).get("description", "it has no default")
                yield Problem((*path, key), "missing", meant, f"add `{key}:`")
    elif "propertyNames" in error.absolute_schema_path:
        yield Problem((*path, str(instance)), *_words(error, keyword, why))
    else:
        yield Problem(path, *_words(error, keyword, why))


UNKNOWN_KEY = "unknown key"
_UNKNOWN_WHY = "every key is checked, because a misspelt one would silently change nothing"


def _branch(error: ValidationError, name: str) -> Iterator[Problem]:
    """The problems of the one alternative that the value was meant for, told by its type."""
    branches: dict[Any, list[ValidationError]] = {}
    for inner in error.context or ():
        branches.setdefault(inner.schema_path[0], []).append(inner)
    meant = [
        found for found in branches.values() if not any(inner.validator == "type" and not inner.path for inner in found)
    ]
    if len(meant) == 1:
        misspelt = any(inner.validator == "additionalProperties" for inner in meant[0])
        for inner in meant[0]:
            if not (misspelt and _missing_keys(inner)):  # the misspelt key is the one that is missing
                yield from _problems(inner, name)
    elif keys := _missing_keys(error):
        schema: Any = error.schema
        message, todo = f"must be {schema.get('title', 'complete')}", f"add {' or '.join(f'`{key}:`' for key in keys)}"
        yield Problem(tuple(error.absolute_path), message, _description(error, name), todo)
    else:
        yield Problem(tuple(error.absolute_path), *_words(error, "alternatives", _description(error, name)))


def _missing_keys(error: ValidationError) -> list[str]:
    """The keys of which one has to be there, where that is all that the alternatives ask for."""
    inner = list(error.context or ())
    if any(one.validator != "required" for one in inner):
        return []
    wanted: list[Any] = [one.validator_value for one in inner]
    return [key for keys in wanted for key in keys]


def _words(error: ValidationError, keyword: str, why: str) -> tuple[str, str, str]:
    """(message, why, what to do) for one broken keyword."""
    schema: Mapping[str, Any] = error.schema if isinstance(error.schema, Mapping) else {}
    bound: Any = error.validator_value
    what = schema.get("title", "")
    advice = f"for example: {', '.join(str(example) for example in schema['examples'])}" if "examples" in schema else ""
    if keyword == "type":
        allowed = [bound] if isinstance(bound, str) else bound
        wanted = " or ".join(_WORD[kind] for kind in allowed)
        message, advice = f"must be {wanted}, not {_kind(error.instance)}", advice or f"write {wanted}"
    elif keyword == "enum":
        message = f"{_short(error.instance)} is not a valid value"
        advice = nearest(str(error.instance), [str(value) for value in bound])
    elif keyword == "const":
        message, advice = f"must be {_short(bound)}, not {_short(error.instance)}", f"write {_short(bound)}"
    elif keyword == "pattern":
        message = f"{_short(error.instance)} is not {what or 'of the form ' + _published(str(bound))}"
    elif keyword in _BOUND:
        message = f"must be {_BOUND[keyword]} {bound}, not {_short(error.instance)}"
        advice = advice or f"write a number {_BOUND[keyword]} {bound}"
    elif keyword in _COUNT:
        word, unit = _COUNT[keyword]
        message, advice = f"must have {word} {bound} {unit}", advice or f"keep to {word} {bound} {unit}"
    elif keyword == "uniqueItems":
        message, advice = "has an entry twice", "keep each entry once"
    else:
        message = f"{_short(error.instance)} is not {what or 'accepted here'}"
    return message, why or what or "the contract says so", advice or "see the schema's description of this key"


def _description(error: ValidationError, name: str) -> str:
    """The innermost description on the way from the schema's top to the broken keyword."""
    resolver = _registry().resolver_with_root(_resource(name))
    node: Any = load_schema(name)
    found = ""
    for step in error.absolute_schema_path:
        while isinstance(node, Mapping) and step not in node and "$ref" in node:  # jsonschema leaves `$ref` steps out
            resolved = resolver.lookup(node["$ref"])
            node, resolver = resolved.contents, resolved.resolver
            found = node.get("description", found)
        node = node[step]
        if isinstance(node, Mapping) and isinstance(node.get("description"), str):
            found = node["description"]
    return found


def _resource(name: str) -> Resource[Any]:
    from referencing import Resource
    from referencing.jsonschema import DRAFT202012

    return Resource.from_contents(_for_python(load_schema(name)), default_specification=DRAFT202012)


def _published(pattern: str) -> str:
    """A pattern as it stands in the schema, or nearly so."""
    return pattern.replace(r"\Z", "$")


def _kind(value: Any) -> str:
    kinds = {bool: "true or false", int: "a whole number", float: "a number", str: "text", list: "a list"}
    if value is None:
        return "empty"
    return next((word for kind, word in kinds.items() if isinstance(value, kind)), "a mapping")


def _short(value: Any) -> str:
    """A value for a message: control characters escaped, at most 60 characters, containers by their kind."""
    if isinstance(value, (list, dict)):
        return _kind(value)
    shown = printable(str(value))
    return f'"{shown}"' if " " in shown or not shown else shown
