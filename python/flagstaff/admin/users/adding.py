"""Adds users that are typed as text, such as a column of a CSV file. Finds the unknown ones."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Sequence
from io import StringIO
from typing import Any, NamedTuple

from django.utils.translation import ngettext

from flagstaff import changes
from flagstaff._tables.rows import PrimaryKey
from flagstaff._tables.user_lookup import allowed_user_table
from flagstaff._words.text import local_number
from flagstaff.changes.allowed_users import allowed_pks


class Added(NamedTuple):
    """The outcome for the users that a person has typed."""

    #: What was done, in words; "" if all users are unknown.
    sentence: str
    #: The texts that are no user, or that several users have as their username.
    unknown: Sequence[str]
    #: None if all are unknown.
    changed: changes.Changed | None = None


def parse_names(text: str, *, first_column: bool) -> list[str]:
    """Returns the users of a text: one on each line, or with commas or tabs between them.

    With `first_column`, the other columns of each line are left out. Quotes are those of CSV.
    Raises csv.Error for a cell that is too long. Does not query.
    """
    # With None, each end of a line becomes "\n".
    lines = StringIO(text.replace("\t", ","), newline=None)
    rows = csv.reader(lines, skipinitialspace=True)
    cells = (cell.strip() for row in rows for cell in (row[:1] if first_column else row))
    return list(dict.fromkeys(cell for cell in cells if cell))


def names_text(names: Iterable[str]) -> str:
    """Returns the lines that `parse_names` reads as these users."""
    lines = StringIO()
    csv.writer(lines, lineterminator="\n").writerows([name] for name in names)
    return lines.getvalue()


def new_users(flag: Any, names: Sequence[str]) -> set[PrimaryKey]:
    """Returns those of the users who are no allowed users yet."""
    return set(allowed_user_table().find_many(names).values()) - allowed_pks(flag)


def add_named_users(key: str, names: Sequence[str]) -> Added:
    """Adds the users with these primary keys or usernames to a flag. Blocks; queries.

    Unknown ones are left out. Raises as `flagstaff.changes.flags.allow` does.
    """
    found = allowed_user_table().find_many(names)
    pks: list[Any] = list(dict.fromkeys(found.values()))
    if not pks:
        return Added("", names)
    # A user may be deleted meanwhile.
    changed = changes.flags.allow(key, pks, skip_unknown=True)
    unknown = [text for text in names if text not in found or found[text] in changed.missing]
    added, sentences = len(changed.new), []
    if added:
        text = ngettext("Added %(count)s user.", "Added %(count)s users.", added)
        sentences.append(text % {"count": local_number(added)})
    if present := len(pks) - added - len(changed.missing):
        text = ngettext(
            "%(count)s user was an allowed user already.",
            "%(count)s users were allowed users already.",
            present,
        )
        sentences.append(text % {"count": local_number(present)})
    return Added(" ".join(sentences), unknown, changed)
