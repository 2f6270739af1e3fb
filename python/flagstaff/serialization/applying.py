"""Writes a document to the database in one transaction."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from django.db import transaction

from flagstaff import changes
from flagstaff._words.text import Text
from flagstaff.changes import Changed, Undo, combined_undo
from flagstaff.changes.allowed_users import ALLOWED
from flagstaff.changes.row_changes import create_rows
from flagstaff.conf import conf
from flagstaff.exceptions import ConflictError
from flagstaff.serialization.document import SECTIONS, Document
from flagstaff.serialization.plan import Plan, Step, diff


@dataclass(frozen=True)
class Imported:
    """The result of an import."""

    plan: Plan
    #: One for each step of the plan.
    changed: tuple[Changed, ...]
    #: Undoes the whole import; None if nothing was written, or if a secret value was replaced.
    undo: Undo | None


def apply(
    document: Document,
    *,
    delete_missing: bool = False,
    skip_unknown_users: bool = False,
    ignore_versions: bool = False,
    expect_plan: str | None = None,
) -> Imported:
    """Imports a document in one transaction: all of it or nothing.

    Writes only what differs. Blocks while other transactions lock the rows. Raises what `diff`
    raises, ConflictError if the plan's fingerprint is not `expect_plan`, and InvalidChangeError.
    """
    with transaction.atomic(using=conf.database):
        plan = diff(
            document,
            delete_missing=delete_missing,
            skip_unknown_users=skip_unknown_users,
            ignore_versions=ignore_versions,
            lock=True,
        )
        if expect_plan is not None and expect_plan != plan.fingerprint:
            raise ConflictError(
                Text(
                    "the plan is now {present}, not {expected}, because something has changed; "
                    "review the new plan with --dry-run",
                    present=plan.fingerprint,
                    expected=expect_plan,
                )
            )
        changed = tuple(_write_all(plan.steps))
    return Imported(plan, changed, combined_undo(changed))


def _write_all(steps: Iterable[Step]) -> list[Changed]:
    """Writes the steps: creations together, after the others of their kind.

    Segments are first, and their deletions last, because rules name them. Returns the changes in
    the order of steps.
    """
    steps = list(steps)
    done: dict[tuple[str, str], Changed] = {}
    for kind in SECTIONS:
        of_kind = [step for step in steps if step.kind == kind.value and not _is_last(step)]
        done |= {(step.kind, step.key): _write(step) for step in of_kind if step.action != "create"}
        new = {step.key: _fields(step) for step in of_kind if step.action == "create"}
        done |= {(kind.value, changed.key): changed for changed in create_rows(kind, new)}
    done |= {(step.kind, step.key): _write(step) for step in steps if _is_last(step)}
    return [done[step.kind, step.key] for step in steps]


def _is_last(step: Step) -> bool:
    return (step.kind, step.action) == ("segment", "delete")


def _write(step: Step) -> Changed:
    if step.action == "delete":
        delete = {
            "flag": changes.delete,
            "value": changes.delete_value,
            "segment": changes.delete_segment,
        }
        return delete[step.kind](step.key)
    update = {
        "flag": changes.update,
        "value": changes.update_value,
        "segment": changes.update_segment,
    }
    return update[step.kind](step.key, _fields(step))


def _fields(step: Step) -> dict[str, object]:
    return {**step.fields, **({} if step.users is None else {ALLOWED: step.users})}
