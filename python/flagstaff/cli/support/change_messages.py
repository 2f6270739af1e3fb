"""The sentences that a verb prints about a change."""

from __future__ import annotations

from collections.abc import Iterator

from flagstaff._tables.bucket_units import BUCKET_BY
from flagstaff._words.text import MAX_VALUE, some
from flagstaff.changes import Changed
from flagstaff.changes.allowed_users import ALLOWED
from flagstaff.changes.changed import as_written
from flagstaff.history.describe import Names, describe_change, describe_value, field_label

#: What a new bucketing unit does.
REASSIGNED = (
    "the new unit reassigns every user; where a percentage decides, some users get another result"
)


def change_messages(changed: Changed, names: Names) -> Iterator[str]:
    """Yields what was changed, as the history describes it, and which users were skipped."""
    if not changed.written:
        yield f"{changed.key}: {_up_to_date(changed)}"
    else:
        written = as_written(changed)
        yield f"{changed.key}: {describe_change(written, names, limit=MAX_VALUE)}"
        if written.action == "change" and any(
            difference.field == BUCKET_BY for difference in written.differences
        ):
            yield f"{changed.key}: {REASSIGNED}"
    if changed.kept_by_rules:
        yield f"{changed.key}: {changed.kept_by_rules}"
    if changed.missing:
        yield f"skipped users that do not exist: {some(changed.missing)}"


def _up_to_date(changed: Changed) -> str:
    name = changed.field
    if not name:
        return "already deleted" if changed.new is None else "already up to date"
    if name == ALLOWED:
        return "the allowed users are already up to date"
    hidden = changed.hides(name)
    value = describe_value(changed.new, field=name, secret=hidden, limit=MAX_VALUE)
    return f"{field_label(name)} is already {value}"
