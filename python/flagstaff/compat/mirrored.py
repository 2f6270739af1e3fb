"""Writes the flags of changed rows of waffle: locks them, and reports what cannot be written."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any

from django.db import Error, connections, transaction
from django.db.models.functions import Now

from flagstaff._attribution.context import current_actor, current_reason
from flagstaff._attribution.writes import acting_as
from flagstaff._connection.vendor import is_postgresql
from flagstaff._tables.rows import all_rows
from flagstaff._tables.sqlstate import error_text, is_missing_table, sqlstate
from flagstaff._words.message import Template
from flagstaff._words.message import marked as _
from flagstaff.changes.changed import quoted_command
from flagstaff.compat.mirrored_row import Pair, mirror_row
from flagstaff.compat.models import SOURCE, WaffleRow
from flagstaff.compat.names import key_of
from flagstaff.compat.rows import SourceRow, read_kind
from flagstaff.compat.settings import WaffleKind, waffle_settings
from flagstaff.conf import conf
from flagstaff.exceptions import FlagstaffError

_LOG = logging.getLogger("flagstaff")

# In milliseconds, in place of a longer limit of the project or none. A transaction that has written
# flags before waits less than the second after which the server ends a deadlock at the cost of
# either side: the other may be a kill here. Returns the limit before.
_SHORT_LIMIT = """
    WITH before AS MATERIALIZED (
        SELECT
            setting,
            CASE
                WHEN pg_catalog.current_setting('flagstaff.mirrored', true)
                    OPERATOR(pg_catalog.=) 'yes' THEN 500
                ELSE 2000
            END AS milliseconds,
            CASE WHEN setting OPERATOR(pg_catalog.<>) '0' THEN setting::integer END AS own
        FROM pg_catalog.pg_settings
        WHERE name OPERATOR(pg_catalog.=) 'lock_timeout'
    )
    SELECT
        setting,
        pg_catalog.set_config(
            'lock_timeout', LEAST(own, milliseconds)::text, true
        ),
        pg_catalog.set_config('flagstaff.mirrored', 'yes', true)
    FROM before
"""
_SET_LIMIT = "SELECT pg_catalog.set_config('lock_timeout', %s, true)"
# A lock that was not available in time, a deadlock, and a serialization failure.
_PASSING = {"55P03", "40P01", "40001"}

_NOT_SAVED = Template(
    "waffle_not_saved",
    _(
        "the change of %(kind)s %(name)s was not saved: its flag %(key)s is served by flagstaff, "
        "and could not be changed: %(reason)s; %(advice)s"
    ),
)
_ONLY_IN_WAFFLE = Template(
    "waffle_saved_in_waffle_only",
    _(
        "the change of %(kind)s %(name)s was saved in waffle, but has no effect: its flag %(key)s "
        "is served by flagstaff, and could not be changed: %(reason)s; %(advice)s"
    ),
)
_BUSY = Template("waffle_flag_busy", _("another transaction is changing the flag"))
_NOT_MIGRATED = Template("waffle_not_migrated", _("a table is missing; run manage.py migrate"))
_AGAIN = Template("waffle_save_again", _("save it again"))
_TURN_OFF = Template("waffle_turn_off", _("to turn the flag off, run %(command)s"))


class WaffleMirrorError(FlagstaffError):
    """A change in waffle could not be written to the flag that is served in its place."""


@dataclass(frozen=True)
class WaffleChange:
    """Rows of one table of waffle that were created, changed or deleted."""

    kind: WaffleKind
    #: The alias of the connection that has changed them.
    using: str
    names: frozenset[str]
    #: Earlier names by the new ones.
    renamed: Mapping[str, str]
    #: Whether a save has written the column that turns the rows on or off.
    is_deciding: bool = False

    @property
    def all_names(self) -> set[str]:
        """The names, and the earlier ones."""
        return {*self.names, *self.renamed.values()}

    @property
    def is_committed(self) -> bool:
        """Whether it is too late to roll the change back."""
        return self.using != conf.database


def write_change(change: WaffleChange) -> None:
    """Writes what has changed to the flags, in one transaction or in the surrounding one.

    A failure is logged and stored. If the flag is served from here, raises WaffleMirrorError; the
    caller then rolls back what waffle has written.
    """
    try:
        with transaction.atomic(using=conf.database), _short_lock_timeout():
            failures = dict(_write(change))
            if not change.is_committed:
                _raise_first(_NOT_SAVED, change, failures)
            _report_all(change, failures)
    except Error as error:
        # Such as that of a connection that fails. Without a commit, waffle has the same error.
        if not change.is_committed:
            raise
        failures = dict.fromkeys(sorted(change.all_names), error)
        _report_all(change, failures)
    if change.is_committed:
        _raise_first(_ONLY_IN_WAFFLE, change, failures)


def _write(change: WaffleChange) -> Iterator[tuple[str, Exception]]:
    """Writes the flags one by one, and yields the names of those that fail."""
    names = change.all_names
    pairs: dict[str, Pair] = {}
    try:
        with transaction.atomic(using=conf.database):
            pairs = _pairs(change, names)
    except Exception as error:  # noqa: BLE001 (also that of the project's models)
        yield from ((name, error) for name in sorted(names))
    # A renamed row is a copy of the old flag, which may be deleted afterwards.
    for name, pair in sorted(pairs.items(), key=lambda item: (item[1].source is None, item[0])):
        origin = pairs.get(change.renamed.get(name, ""))
        try:
            with acting_as(current_actor(), reason=current_reason(), source=SOURCE):
                mirror_row(
                    pair,
                    origin,
                    is_deciding=change.is_deciding,
                    is_renamed=name in change.renamed.values(),
                )
        except Exception as error:  # noqa: BLE001
            yield name, error


def _pairs(change: WaffleChange, names: Iterable[str]) -> dict[str, Pair]:
    """Returns the rows of waffle beside the flags, which are locked in the order of their keys."""
    keys = {name: key_of(change.kind, name) for name in names}
    flags = all_rows(conf.flag_model).filter(key__in={*keys.values()}).order_by("key")
    locked = {flag.key: flag for flag in flags.select_for_update()}
    # Read after the locks, so that each of two transactions sees what the other has written.
    sources: dict[str, SourceRow] = {
        source.name: source for source in read_kind(change.kind, {*names}, change.using)
    }
    rows = all_rows(WaffleRow).filter(kind=change.kind, name__in=[*names])
    written: dict[str, WaffleRow] = {row.name: row for row in rows}
    return {
        name: Pair(change.kind, name, key, sources.get(name), locked.get(key), written.get(name))
        for name, key in keys.items()
    }


def _raise_first(
    template: Template, change: WaffleChange, failures: Mapping[str, Exception]
) -> None:
    """Raises the first failure of a flag that is served from here."""
    for name, error in failures.items():
        if not waffle_settings().serves(name):
            continue
        key = key_of(change.kind, name)
        turn_off = partial(_TURN_OFF, command=quoted_command("kill", key))
        text = template(
            kind=change.kind,
            name=repr(name),
            key=repr(key),
            reason=_reason(error),
            advice=_AGAIN() if _is_passing(error) else turn_off(),
        )
        raise WaffleMirrorError(text) from error


def _report_all(change: WaffleChange, failures: Mapping[str, Exception]) -> None:
    for name, error in failures.items():
        _report(change.kind, name, error)


def _report(kind: WaffleKind, name: str, error: Exception) -> None:
    """Logs a failure, and stores it for the list of problems."""
    reason, key = _reason(error), key_of(kind, name)
    _LOG.error("waffle's %s %r could not be written to the flag %r: %s", kind, name, key, reason)
    try:
        with transaction.atomic(using=conf.database):
            all_rows(WaffleRow).update_or_create(
                kind=kind,
                name=name,
                defaults={"problem": reason, "at": Now()},
                create_defaults={"problem": reason, "key": key},
            )
    except Error as unstored:
        _LOG.error("the problem could not be stored: %s", error_text(unstored))


def _is_passing(error: Exception) -> bool:
    return isinstance(error, Error) and sqlstate(error) in _PASSING


def _reason(error: Exception) -> str:
    if _is_passing(error):
        return _BUSY()
    if isinstance(error, Error) and is_missing_table(error):
        return _NOT_MIGRATED()
    if isinstance(error, FlagstaffError):
        return error.message
    return error_text(error) if isinstance(error, Error) else f"{type(error).__name__}: {error}"


@contextmanager
def _short_lock_timeout() -> Iterator[None]:
    """Limits how long each statement of the block waits for a lock; waffle's own wait longer.

    To be called in a transaction. If the block raises, its rollback restores the limit.
    """
    connection = connections[conf.database]
    if not is_postgresql(connection):
        yield
        return
    with connection.cursor() as cursor:
        cursor.execute(_SHORT_LIMIT)
        before: Any = cursor.fetchone()[0]
        yield
        cursor.execute(_SET_LIMIT, [before])
