"""Every change that a person makes, whoever's hand it is. Each locks its row and is one change.

Who acts, through which door and why is said around it: by `acting_as`, or by the middleware.
"""

from __future__ import annotations

from flagstaff.changes.allowed_users import allow, deny
from flagstaff.changes.changed import Changed, Undo, undo_together
from flagstaff.changes.flags import create, delete, edit, ramp, switch
from flagstaff.changes.restoring import restore, restore_value
from flagstaff.changes.undoing_transaction import undo_transaction
from flagstaff.changes.undoing import undo, undo_value
from flagstaff.changes.values import create_value, edit_value, set_value, unset_value

__all__ = [
    "Changed",
    "Undo",
    "allow",
    "create",
    "create_value",
    "delete",
    "deny",
    "edit",
    "edit_value",
    "ramp",
    "restore",
    "restore_value",
    "set_value",
    "switch",
    "undo",
    "undo_together",
    "undo_transaction",
    "undo_value",
    "unset_value",
]
