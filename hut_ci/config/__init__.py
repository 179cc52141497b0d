"""lab.yml and hut.yml → model values; a refusal names file, line, key and the nearest valid key.

lab.yml is the operator's and is never looked for in the workspace (security 25). hut.yml is the firmware team's and
untrusted: its size, counts, lengths and times are bounded by the schema, its patterns are linear-time (RE2).
"""

from hut_ci.config.lab_edit import insert_slot, new_lab, slot_entry
from hut_ci.config.load import (
    SYSTEM_LAB,
    default_state_dir,
    find_lab,
    lab_from_text,
    lab_to_write,
    load_lab,
    load_project,
    project_from_bytes,
    user_lab,
)

__all__ = [
    "SYSTEM_LAB",
    "default_state_dir",
    "find_lab",
    "insert_slot",
    "lab_from_text",
    "lab_to_write",
    "load_lab",
    "load_project",
    "new_lab",
    "project_from_bytes",
    "slot_entry",
    "user_lab",
]
