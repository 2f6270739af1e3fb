"""Who may do what to a row.

On a page, the project's ModelAdmin decides: its methods get this answer from their base class, and
may refuse single rows or allow more. Without a request, such a method cannot be asked: a made-up
request lacks what middleware adds, and "no team" may mean every team to it. So it counts as a no.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import Any, Literal, TypeAlias

from django.contrib.auth import get_permission_codename

from flagstaff._tables.rows import Kind
from flagstaff._tables.states import FlagState
from flagstaff.changes.fields import Changed, count_allowed_users
from flagstaff.changes.row_states import Impact, RowState
from flagstaff.conf import conf
from flagstaff.history.log import Event

#: "toggle" turns flags on and off, sets their rollout, and uses their plans.
Right: TypeAlias = Literal["view", "toggle", "change", "add", "delete"]
#: Whether somebody has a right for a row, or for the rows of a model.
Ask: TypeAlias = "Callable[[Right, Any], bool]"

# The fields that the right to toggle writes.
_TOGGLE_FIELDS = frozenset({"enabled", "rollout_percent"})

INCLUDED_IN: dict[Right, tuple[Right, ...]] = {
    "view": ("view", "toggle", "change"),
    "toggle": ("toggle", "change"),
}
#: The methods of a ModelAdmin that hide rows.
HIDING = ("get_queryset", "has_view_permission")


def may(user: Any, right: Right, row: Any) -> bool:
    """Returns whether a user may do this to a row, or to the rows of a model.

    It is the answer of READ_ONLY and of Django's permissions, also those for single rows. Whoever
    may toggle or change a row may view it.
    """
    return (right == "view" or not conf.read_only) and has_permission(user, right, row)


def has_permission(user: Any, right: Right, row: Any) -> bool:
    """Returns the answer of Django's permissions alone."""
    rows = [None] if isinstance(row, type) else [None, row]
    names = [permission(sufficient, row) for sufficient in INCLUDED_IN.get(right, (right,))]
    return any(user.has_perm(name, target) for target in rows for name in names)


def overrides(model_admin: Any, *names: str) -> bool:
    """Returns whether a ModelAdmin has one of these methods from the code of a project."""
    methods = (getattr(model_admin, name, None) for name in names)
    modules = (getattr(method, "__module__", "") for method in methods if method is not None)
    return any(module.partition(".")[0] not in {"django", "flagstaff"} for module in modules)


def right_of(change: Changed | Event) -> Right:
    """Returns the right that a change needs."""
    if change.action != "change":
        return "add" if change.action == "create" else "delete"
    is_of_users = bool(change.added.count or change.removed.count)
    fields = {difference.field for difference in change.differences}
    toggles = is_toggle(Kind(change.kind), fields) and not is_of_users
    return "toggle" if toggles else "change"


def is_toggle(kind: Kind, fields: Collection[str]) -> bool:
    """Whether a change of these fields only turns a flag on or off, or rolls it out."""
    return kind is Kind.FLAG and _TOGGLE_FIELDS.issuperset(fields)


def right_to_undo(event: Event) -> Right:
    """Returns the right that the undo of an event needs."""
    inverse: dict[Right, Right] = {"add": "delete", "delete": "add"}
    right = right_of(event)
    return inverse.get(right, right)


def lacking(ask: Ask, reached: Impact) -> list[RowState]:
    """Returns the flags and values that a change reaches, without the right for them.

    These are flags that come or go with their users, and what uses a segment or a flag that
    changes, but for what never waits. The right to change the row includes experiments.
    `reached` need not be counted.
    """
    sides = [(reached.before.get(key), reached.after.get(key)) for key in reached.rows]
    states = [old or new for old, new in sides if not (old and new)]
    affected = [state for state in states if state is not None and reaches_users(state)]
    affected += [RowState(use.kind, use.row) for use in reached.given if use.kind and use.is_active]
    rights: dict[Kind, Right] = {Kind.FLAG: "toggle", Kind.VALUE: "change"}
    return [state for state in affected if not ask(rights[state.kind], state.row)]


def reaches_users(state: RowState) -> bool:
    """Returns whether it is a flag that users have. Counts its allowed users, if that decides."""
    users = state.allowed_users
    return state.kind is Kind.FLAG and FlagState.of(state.row).reaches_users(
        lambda: count_allowed_users(state.row) if users is None else len(users)
    )


def permission(right: Right, row: Any) -> str:
    """Returns the name of Django's permission for a row or a model."""
    meta = row._meta
    return f"{meta.app_label}.{get_permission_codename(right, meta)}"
