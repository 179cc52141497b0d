"""Real boards in CI: from the artifact of one commit to a verdict.

The path is the program; each stage is a file in `hut_ci/stages`, and `hut_ci/run.py` reads it top to bottom:

    trigger → artifact → slot → flash → suite → recover → report → publish

A *lab* is described by `lab.yml` (the operator's), a *project* by `hut.yml` (the firmware team's).
A *claim* on a slot is the capability that every board operation asks for. *Evidence* is what was
observed, and the only thing that a *verdict* or a recovery step is decided from (`hut_ci/stages/evidence.yml`).
"""

__version__ = "0.1.0"
