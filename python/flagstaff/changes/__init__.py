"""Every change that a person makes, whoever's hand it is. Each locks its row and is one change.

Who acts, through which source and why is said around it: by `acting_as`, or by the middleware.
"""

from __future__ import annotations

from flagstaff.changes.allowed_users import add_allowed_users, remove_allowed_users
from flagstaff.changes.changed import Changed, Undo, combined_undo
from flagstaff.changes.flags import create, delete, disable, enable, set_rollout, update
from flagstaff.changes.restoring import restore, restore_value
from flagstaff.changes.undoing import undo, undo_value
from flagstaff.changes.undoing_transaction import undo_transaction
from flagstaff.changes.values import create_value, delete_value, set_value, update_value

__all__ = [
    "Changed",
    "Undo",
    "add_allowed_users",
    "combined_undo",
    "create",
    "create_value",
    "delete",
    "delete_value",
    "disable",
    "enable",
    "remove_allowed_users",
    "restore",
    "restore_value",
    "set_rollout",
    "set_value",
    "undo",
    "undo_transaction",
    "undo_value",
    "update",
    "update_value",
]
