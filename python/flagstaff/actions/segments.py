"""The actions of segments."""

from __future__ import annotations

from typing import Annotated, Any

from flagstaff import changes
from flagstaff._tables.rows import Kind
from flagstaff._text import say
from flagstaff.actions.arguments import Argument, RulesFile
from flagstaff.actions.table import Action, action, undo_actions
from flagstaff.changes import Changed

_Conditions = Annotated[
    Any, RulesFile('a file with the conditions as a JSON list; "-" is the standard input')
]
_Description = Annotated[str, Argument("which users the segment has")]


@action(
    Kind.SEGMENT,
    "segment conditions enterprise enterprise.json",
    "segment conditions enterprise - --dry-run < enterprise.json",
    label=say("Conditions").lazy,
    button=say("Save the conditions"),
)
def conditions(key: str, conditions: _Conditions, *, expect_version: int | None = None) -> Changed:
    """Replace the conditions of a segment.

    All flags that use the segment change at once. `--dry-run` says for how many users.
    """
    return changes.segments.update(key, {"conditions": conditions}, expect_version=expect_version)


@action(
    Kind.SEGMENT,
    'segment details enterprise "Customers with 100 seats"',
    'segment details enterprise ""',
    label=say("Details").lazy,
    button=say("Save the details"),
)
def details(key: str, description: _Description, *, expect_version: int | None = None) -> Changed:
    """Change the description of a segment."""
    return changes.segments.update(key, {"description": description}, expect_version=expect_version)


@action(
    Kind.SEGMENT,
    "segment create large enterprise.json",
    'segment create small - --description "Customers with few seats" < enterprise.json',
    right="add",
    creates=True,
    label=say("Add segment").lazy,
    button=say("Add segment"),
)
def create(key: str, conditions: _Conditions, description: _Description = "") -> Changed:
    """Create a segment from its conditions."""
    return changes.segments.create(key, conditions, description=description)


@action(
    Kind.SEGMENT,
    "segment delete enterprise --yes",
    "segment delete enterprise --dry-run",
    right="delete",
    deletes=True,
    label=say("Delete").lazy,
    button=say("Delete {key}"),
)
def delete(key: str, *, expect_version: int | None = None) -> Changed:
    """Delete a segment that no rule uses.

    If a rule uses it, the message lists the flags.
    """
    return changes.segments.delete(key, expect_version=expect_version)


#: In the order of the help.
SEGMENT_ACTIONS: tuple[Action, ...] = (
    conditions,
    details,
    create,
    delete,
    *undo_actions(Kind.SEGMENT, "enterprise"),
)
