"""Changes flags, values and segments. The admin, the commands and your own code use this package.

The functions are spelled by kind: `changes.flags.enable(key)`, `changes.values.set(key, value)`,
`changes.segments.update(key, description=…)`. Each one locks the row, writes only what differs, and
is one transaction or part of the surrounding one. `acting_as` and the middleware set the actor, the
source and the reason. Each has a twin for async code: `await changes.flags.aenable(key)`.
"""

from __future__ import annotations

from flagstaff.changes import flags, segments, values
from flagstaff.changes.async_twins import async_twin
from flagstaff.changes.fields import Changed, Undo, combined_undo
from flagstaff.changes.undo import Undone, preview_undo, undo

__all__ = [
    "Changed",
    "Undo",
    "Undone",
    "apreview_undo",
    "aundo",
    "combined_undo",
    "flags",
    "preview_undo",
    "segments",
    "undo",
    "values",
]

apreview_undo = async_twin(preview_undo)
aundo = async_twin(undo)


def __dir__() -> list[str]:
    return __all__
