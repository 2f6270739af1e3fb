"""Asks on a terminal before a change gives a flag to users, by the consequence of the change.

The rule and the counts are those of the admin. Without a terminal nothing is asked: scripts are
trusted, and must not wait for an answer.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple

from django.db import transaction

from flagstaff._core import monotonic
from flagstaff._tables.rows import all_rows
from flagstaff._words.text import counted
from flagstaff.changes import Changed
from flagstaff.changes.change_plan import ChangePlan, plan_segment_changes, plan_text
from flagstaff.changes.consequence import Consequence
from flagstaff.changes.locking import lock_rows, require_version
from flagstaff.changes.planned import COUNT_TIMEOUT, Planned, planned_change, text_to_type
from flagstaff.changes.preview import rolled_back
from flagstaff.changes.segment_plan import SegmentPlan
from flagstaff.cli.support.change_arguments import may_ask, require_confirmation
from flagstaff.cli.support.change_messages import REASSIGNED
from flagstaff.cli.support.dry_run_impact import segment_lines
from flagstaff.cli.support.output import Output
from flagstaff.cli.support.report import print_changes
from flagstaff.cli.support.verb import Options
from flagstaff.conf import conf
from flagstaff.exceptions import NoHistoryError
from flagstaff.history.kinds import Kind
from flagstaff.history.log import deleted_pk, newest_version, require_history, require_triggers

#: The question after the sentences about the users.
GO_ON = "Go on?"
_ENABLED, _PERCENT = "enabled", "rollout_percent"


class RowKey(NamedTuple):
    """A row that a write changes."""

    kind: Kind
    key: str
    #: None for a row that is created.
    pk: str | None


class Question(NamedTuple):
    """What a person should know about the users before the answer."""

    plans: Sequence[ChangePlan]
    #: The text to type in the place of "y"; may be empty.
    typed: str

    def ask(self, options: Options, out: Output, text: str = GO_ON) -> None:
        """Prints what happens to the users, and asks. Blocks until the answer.

        Raises CommandError if the answer is no.
        """
        lines = [line for plan in self.plans for line in _lines(plan)]
        if len(self.plans) == 1:
            text = f"{lines.pop()} {text}"
        for line in lines:
            out.message(line)
        require_confirmation(text, options, out, typed=self.typed)


def write_confirmed(  # noqa: PLR0913 (what is written, and how it is asked)
    rows: Callable[[], Sequence[RowKey]],
    write: Callable[[], list[Changed]],
    options: Options,
    out: Output,
    *,
    shows: bool = False,
    asks_from: Consequence = Consequence.WIDENS,
) -> list[Changed]:
    """Writes, on a terminal after a question if users gain a flag. Blocks until the answer.

    `rows` returns what `write` changes, in the order of its results. With `shows`, the question
    also shows the changes. Raises CommandError if the answer is no, and ConflictError if one of the
    rows has been changed since the question.
    """
    if not may_ask(options, out):
        return write()
    keys = rows()
    seen = versions_seen(keys)
    with rolled_back():
        changes = write()
    question = question_about(zip(keys, changes, strict=True), asks_from)
    if question is None:
        return write()
    if shows:
        print_changes(changes, out)
    question.ask(options, out)
    with unchanged(seen):
        return write()


def question_about(
    changes: Iterable[tuple[RowKey, Changed]], asks_from: Consequence = Consequence.WIDENS
) -> Question | None:
    """Returns the question about previewed changes; None if no user gains a flag.

    Counts the users for all changes together for at most a second.
    """
    deadline = monotonic() + COUNT_TIMEOUT
    written = [(row, changed) for row, changed in changes if changed.written]
    flag_plans = [
        _plan_flag(row, changed, deadline) for row, changed in written if row.kind is Kind.FLAG
    ]
    of_segments = plan_segment_changes(
        [(row.kind, changed) for row, changed in written], timeout=deadline - monotonic()
    )
    plans = [
        plan
        for plan in (*flag_plans, of_segments)
        if plan is not None and plan.consequence >= asks_from
    ]
    if not plans:
        return None
    largest = max(plan.consequence for plan in plans)
    keys = [key for plan in plans if plan.consequence is largest for key in plan.keys]
    return Question(plans, text_to_type(keys, largest))


def row_of(kind: Kind, key: str) -> RowKey:
    """Returns the row that has a key, or else the deleted one that last had it. Queries."""
    row = kind.find(key)
    return RowKey(kind, key, deleted_pk(kind, key) if row is None else str(row.pk))


def versions_seen(rows: Iterable[RowKey]) -> Mapping[RowKey, int | None]:
    """Returns the versions for `unchanged`. Read them first: then newer changes are a conflict."""
    return {row: seen_version(row) for row in rows}


def seen_version(row: RowKey) -> int | None:
    """Returns the version of a row; None if it cannot be known, which a system check reports."""
    try:
        require_history()
        require_triggers(row.kind)
    except NoHistoryError:
        return None
    return None if row.pk is None else newest_version(row.kind, row.pk)


@contextmanager
def unchanged(seen: Mapping[RowKey, int | None]) -> Iterator[None]:
    """Runs the block in a transaction that locks the rows.

    Raises ConflictError if one of them has another version.
    """
    with transaction.atomic(using=conf.database):
        lock_rows((row.kind, row.pk) for row in seen if row.pk is not None)
        for (kind, key, pk), version in seen.items():
            require_version(kind, key, pk, version, "run the command again")
        yield


def _plan_flag(row: RowKey, changed: Changed, deadline: float) -> Planned | None:
    if not _may_widen(changed):
        return None
    before: Any = None
    if row.pk is not None:
        before = all_rows(row.kind.model).filter(pk=row.pk).first()
    return planned_change(before, changed, timeout=deadline - monotonic())


def _may_widen(changed: Changed) -> bool:
    """Whether users may gain a flag. A brake needs no count, so that nothing delays it."""
    if changed.field == _PERCENT and changed.old is not None:
        return bool(changed.new > changed.old)
    # An undo or a restore that disables the flag.
    return bool(changed.field) or (changed.new or {}).get(_ENABLED) is not False


def _lines(plan: ChangePlan) -> Iterator[str]:
    if isinstance(plan, SegmentPlan):
        yield from segment_lines(plan)
    yield f"{', '.join(plan.keys)}: {' '.join(_sentences(plan))}"


def _sentences(plan: ChangePlan) -> Iterator[str]:
    """What happens to the users, and what no count includes."""
    if isinstance(plan, SegmentPlan):
        yield plan.text
        if plan.adds_anonymous:
            yield "Anonymous users, who are not counted, can gain it, too."
        return
    before, after = plan.before, plan.after
    if before.enabled and before.bucket_by != after.bucket_by:
        yield f"{REASSIGNED[0].upper()}{REASSIGNED[1:]}."
        yield from filter(None, [plan.anonymous_text])
    elif text := plan_text(plan):
        yield text
    if plan.added:
        yield f"{counted(plan.added, 'allowed user')} will be added."
