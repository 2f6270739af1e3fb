"""One run of an action for rows with a history: a preview of its changes, and the write."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, cast

from django.db import transaction

from flagstaff._tables.rows import Row
from flagstaff.actions.table import Action
from flagstaff.changes import Changed
from flagstaff.changes.locking import read_rows
from flagstaff.changes.preview import is_preview, previewed
from flagstaff.conf import conf
from flagstaff.exceptions import NoHistoryError
from flagstaff.history.kinds import Kind
from flagstaff.history.log import deleted_pk, require_history, require_triggers, versions_of


@dataclass(frozen=True)
class Run:
    """An action with its arguments, for the rows of some keys."""

    action: Action
    keys: Sequence[str]
    #: Those that exist.
    rows: Sequence[Row]
    arguments: Mapping[str, Any]

    def versions(self) -> dict[str, int]:
        """Returns the versions by key. Read before a preview, so newer changes are a conflict."""
        kind = cast("Kind", self.action.kind)
        with suppress(NoHistoryError):
            if self.action.takes_version:
                require_history()
                require_triggers(kind)
                pks = {row.key: str(row.pk) for row in self.rows}
                # Those of the others, if they were deleted.
                gone = ((key, deleted_pk(kind, key)) for key in self.keys if key not in pks)
                pks |= {key: pk for key, pk in gone if pk}
                found = versions_of(kind, pks.values())
                return {key: found.get(pk, 0) for key, pk in pks.items()}
        # A system check reports what is missing.
        return {}

    def preview(self) -> list[Changed]:
        """Returns what `write` would do. Neither locks nor writes."""
        with previewed():
            return self.write({})

    def write(self, versions: Mapping[str, int]) -> list[Changed]:
        """Writes all rows, or none. `versions` are those that rows must have, by key."""

        def write(key: str) -> Changed:
            expected = {"expect_version": versions[key]} if key in versions else {}
            # Only rows without a history have another result.
            return cast("Changed", self.action.write(key, **self.arguments, **expected))

        if len(self.keys) == 1 or is_preview():
            return [*map(write, self.keys)]
        with transaction.atomic(using=conf.database):
            # In the order of an import and an undo, so that no two can deadlock.
            kind = cast("Kind", self.action.kind)
            read_rows(((kind, str(row.pk)) for row in self.rows), lock=True)
            return [*map(write, self.keys)]
