"""Make what a release gives beside the package: examples that name it, and its notes.

    python release/stamp.py v1.2.3 COMMIT FOLDER

In this repository the examples say `@COMMIT # VERSION` to GitHub and `@0.0.0` to GitLab, because a commit cannot name
itself. The two reusable workflows come along with their `$/` spelled out, for servers and runners that do not know it.
"""

from __future__ import annotations

import re
import shutil
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
OWN = "hut-ci/hut_ci"
REUSABLE = (".github/workflows/hil.yml", ".github/workflows/hil-sweep.yml")
PLACEHOLDER = re.compile(rf"({OWN}[^\s@]*)@COMMIT( # VERSION)?")
COMPONENT = re.compile(rf"({OWN}/[a-z-]+)@\d+\.\d+\.\d+")
BY_ITSELF = re.compile(r"uses: \$/(\S*)")
NOTES = """\
{changes}

GitHub, at exactly this release (examples.zip has it filled in):

    uses: hut-ci/hut_ci/.github/workflows/hil.yml@COMMIT # VERSION

GitLab:

    component: $CI_SERVER_FQDN/hut-ci/hut_ci/hil@0.0.0

Where these files were built is attested: `gh attestation verify FILE --repo hut-ci/hut_ci`.
"""


def version_of(tag: str, source: Path = ROOT) -> str:
    """The version that a tag stands for. Raises ValueError unless it is that of the source."""
    [version] = re.findall(r'^__version__ = "([^"]+)"$', (source / "hut_ci" / "__init__.py").read_text("utf-8"), re.M)
    if not re.fullmatch(r"v\d+\.\d+\.\d+", tag) or tag != f"v{version}":
        raise ValueError(f"the tag {tag!r} is not v{version}, the version in hut_ci/__init__.py")
    return str(version)


def changes_of(version: str, changelog: str) -> str:
    """What the changelog says of a version. Raises ValueError where it says nothing."""
    found = re.search(rf"^## \[{re.escape(version)}\].*\n((?:(?!## ).*\n?)*)", changelog, re.M)
    if not found or not found[1].strip():
        raise ValueError(f"CHANGELOG.md has no section [{version}]")
    return found[1].strip()


def stamped(text: str, commit: str, version: str) -> str:
    """`text` with each reference to this project made one to that release. Raises ValueError for no full commit id."""
    if not re.fullmatch(r"[0-9a-f]{40}", commit):
        raise ValueError(f"{commit!r} is no full commit id")
    text = PLACEHOLDER.sub(lambda found: f"{found[1]}@{commit}{f' # v{version}' if found[2] else ''}", text)
    return COMPONENT.sub(rf"\1@{version}", text)


def spelled_out(text: str) -> str:
    """A workflow of ours that another repository may hold: `$/` means the repository that a file lies in."""
    return BY_ITSELF.sub(lambda found: f"uses: {OWN}{found[1] and '/' + found[1]}@COMMIT # VERSION", text)


def stamp_examples(folder: Path, commit: str, version: str, source: Path = ROOT) -> None:
    """Make `folder`, which must not be there yet, of the examples and the reusable workflows."""
    shutil.copytree(source / "examples", folder)
    (folder / "workflows").mkdir()
    for name in REUSABLE:
        (folder / "workflows" / Path(name).name).write_text(spelled_out((source / name).read_text("utf-8")), "utf-8")
    for path in [path for path in folder.rglob("*") if path.suffix in (".yml", ".md")]:
        path.write_text(stamped(path.read_text("utf-8"), commit, version), "utf-8")


def main(tag: str, commit: str, folder: str) -> None:
    version, target = version_of(tag), Path(folder)
    changes = changes_of(version, (ROOT / "CHANGELOG.md").read_text("utf-8"))
    with tempfile.TemporaryDirectory() as work:
        stamp_examples(Path(work) / "examples", commit, version)
        shutil.make_archive(str(target / "examples"), "zip", work, "examples")
    (target / "notes.md").write_text(stamped(NOTES.format(changes=changes), commit, version), "utf-8")


if __name__ == "__main__":
    try:
        main(*sys.argv[1:])
    except (TypeError, ValueError) as error:
        sys.exit(f"stamp: {error}")
