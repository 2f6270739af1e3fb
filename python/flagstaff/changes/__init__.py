"""Changes flags, values and segments. The admin, the commands and your own code use this package.

Each function locks the row, writes only what differs, and is one transaction or part of the
surrounding one. `acting_as` and the middleware set the actor, the source and the reason.
"""

from __future__ import annotations

from flagstaff.changes.changed import Changed, Undo, combined_undo
from flagstaff.changes.flags import (
    add_allowed_users,
    create,
    delete,
    disable,
    enable,
    release_to_everybody,
    remove_allowed_users,
    set_rollout,
    update,
)
from flagstaff.changes.segments import create_segment, delete_segment, update_segment
from flagstaff.changes.undo import Conflict, Undone, preview_undo, undo
from flagstaff.changes.values import create_value, delete_value, set_value, update_value

__all__ = [
    "Changed",
    "Conflict",
    "Undo",
    "Undone",
    "add_allowed_users",
    "combined_undo",
    "create",
    "create_segment",
    "create_value",
    "delete",
    "delete_segment",
    "delete_value",
    "disable",
    "enable",
    "preview_undo",
    "release_to_everybody",
    "remove_allowed_users",
    "set_rollout",
    "set_value",
    "undo",
    "update",
    "update_segment",
    "update_value",
]
