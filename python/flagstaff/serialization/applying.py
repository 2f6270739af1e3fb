"""A document → the database, as one change."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from django.db import transaction

from flagstaff import changes
from flagstaff.changes import Changed, Undo, combined_undo
from flagstaff.changes.allowed_users import ALLOWED
from flagstaff.conf import conf
from flagstaff.exceptions import ConflictError
from flagstaff.serialization.document import Document
from flagstaff.serialization.plan import Plan, Step, diff

__all__ = ["Imported", "apply"]


@dataclass(frozen=True)
class Imported:
    """What an import did."""

    plan: Plan
    #: One for each step of the plan.
    changed: tuple[Changed, ...]
    #: Takes all of it back; None where nothing was written, or where a secret would not come back.
    undo: Undo | None


def apply(
    document: Document,
    *,
    delete_missing: bool = False,
    skip_unknown_users: bool = False,
    ignore_versions: bool = False,
    expect_plan: str | None = None,
) -> Imported:
    """Take a document in: all of it, in one transaction, or nothing.

    What is so already is not written. Raises what `difference` raises, ConflictError also where the
    difference is not the one whose fingerprint was expected, and InvalidChangeError.
    """
    with transaction.atomic(using=conf.database):
        plan = diff(
            document,
            delete_missing=delete_missing,
            skip_unknown_users=skip_unknown_users,
            ignore_versions=ignore_versions,
            lock=True,
        )
        if expect_plan not in (None, plan.fingerprint):
            raise ConflictError(
                f"this would be the change {plan.fingerprint}, and not {expect_plan}; "
                "something was changed since, look at the difference again"
            )
        changed = tuple(_write(step) for step in plan.steps)
    return Imported(plan, changed, combined_undo(changed))


def _write(step: Step) -> Changed:
    is_flag = step.kind == "flag"
    if step.action == "delete":
        return (changes.delete if is_flag else changes.delete_value)(step.key)
    fields: dict[str, Any] = dict(step.fields)
    if step.users is not None:
        fields[ALLOWED] = step.users
    if step.action == "change":
        return (changes.update if is_flag else changes.update_value)(step.key, fields)
    create: Callable[..., Changed] = changes.create if is_flag else changes.create_value
    return create(step.key, **fields)
