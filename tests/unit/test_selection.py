"""Which variant runs on which slot."""

from __future__ import annotations

import pytest

from hut_ci.errors import DoesNotFit, HutCiError, UsageError
from hut_ci.model import Facts, Needs, Project, Slot, Variant
from hut_ci.stages.selection import select

MB = 1 << 20
PLAIN = Slot("hut-01", "esp32-hut-01", (), Facts("esp32", flash=4 * MB, psram=0))
AUDIO = Slot("hut-02", "esp32-hut-02", (), Facts("esp32", flash=4 * MB, psram=4 * MB, tags=frozenset({"dac"})))
OTHER = Slot("hut-03", "bench", (), Facts("esp32s3", flash=8 * MB))
ASIDE = Slot("hut-04", "esp32-hut-04", (), Facts("esp32c3"), quarantined="its port is loose")
LAB = (PLAIN, AUDIO, OTHER, ASIDE)

SMALL = Variant("small", Needs(chip="esp32"))
I2S = Variant("i2s", Needs(chip="esp32", psram=4 * MB))
S3 = Variant("s3", Needs(chip="esp32s3"))
C3 = Variant("c3", Needs(chip="esp32c3"))
PROJECT = Project(variants=(SMALL, I2S, S3))


def chosen(*wanted: str, project: Project = PROJECT) -> list[str]:
    return [f"{variant.name}@{slot.id}" for slot, variant in select(LAB, project, wanted)]


@pytest.mark.parametrize(
    ("wanted", "expected"),
    [
        ((), ["small@hut-01", "small@hut-02", "i2s@hut-02", "s3@hut-03"]),
        (("hut-02",), ["small@hut-02", "i2s@hut-02"]),
        (("bench",), ["s3@hut-03"]),
        (("esp32",), ["small@hut-01", "small@hut-02", "i2s@hut-02"]),
        (("dac",), ["small@hut-02", "i2s@hut-02"]),
        (("small",), ["small@hut-01", "small@hut-02"]),
        (("small", "hut-02"), ["small@hut-02"]),
        (("hut-03", "hut-01"), ["small@hut-01", "s3@hut-03"]),
        (("hut-01", "esp32", "hut-01"), ["small@hut-01", "small@hut-02", "i2s@hut-02"]),
    ],
    ids=" ".join,
)
def test_what_was_asked_for_and_fits(wanted: tuple[str, ...], expected: list[str]) -> None:
    assert chosen(*wanted) == expected


@pytest.mark.parametrize(
    ("wanted", "kind", "says"),
    [
        (("hut-1",), UsageError, "did you mean 'hut-01'"),
        (("HUT-01",), UsageError, "no slot, label, chip, tag or variant"),
        (("$(id)\n::error::",), UsageError, r"'\$\(id\)\\n::error::'"),
        (("x" * 100_000,), UsageError, "x{64}'$"),
        (("i2s", "hut-01"), DoesNotFit, "hut-01, i2s: the variant needs 4MB of PSRAM, the board has none"),
        (("hut-04",), DoesNotFit, "hut-04, small: the variant needs esp32, the board is esp32c3"),
    ],
)
def test_what_cannot_be_is_an_error_that_says_why(wanted: tuple[str, ...], kind: type[HutCiError], says: str) -> None:
    with pytest.raises(kind, match=says):
        chosen(*wanted)


def test_a_slot_that_is_set_aside_is_chosen_with_the_others() -> None:
    """The answer names it as blocked: see test_serving.py."""
    project = Project(variants=(SMALL, C3))
    assert chosen(project=project) == ["small@hut-01", "small@hut-02", "c3@hut-04"]
    assert chosen("c3", project=project) == ["c3@hut-04"]


def test_no_board_and_too_many_runs() -> None:
    with pytest.raises(UsageError, match="has no slot"):
        select((), PROJECT, ())
    many = Project(variants=tuple(Variant(f"v{number}") for number in range(17)))
    with pytest.raises(UsageError, match="68 runs"):
        select((PLAIN, AUDIO, OTHER, Slot("hut-05", "l", ())), many, ())


def test_a_project_without_variants_runs_on_every_board() -> None:
    assert chosen(project=Project()) == ["default@hut-01", "default@hut-02", "default@hut-03", "default@hut-04"]
