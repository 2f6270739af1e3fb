"""Makes the same change to one or several flags, in one transaction."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence

from django.core.management.base import CommandError
from django.db import transaction

from flagstaff._tables.rows import Row, all_rows, find_row
from flagstaff._words.text import is_storable, joined
from flagstaff.changes import Changed
from flagstaff.changes.preview import is_preview
from flagstaff.cli.support.consequence import row_of, write_confirmed
from flagstaff.cli.support.errors import USAGE
from flagstaff.cli.support.output import Output
from flagstaff.cli.support.report import report_flag_change, report_flag_changes
from flagstaff.cli.support.verb import Options
from flagstaff.conf import conf
from flagstaff.exceptions import UnknownFlagError
from flagstaff.history.kinds import Kind
from flagstaff.history.log import deleted_pk


def keys_of(options: Options) -> list[str]:
    """Returns the keys without repetitions. Raises CommandError if only one key is possible."""
    keys = list(dict.fromkeys(options["keys"]))
    if len(keys) > 1 and options.get("expect_version") is not None:
        raise CommandError("--expect-version needs one KEY", returncode=USAGE)
    return keys


def change_flags(
    change: Callable[..., Changed], options: Options, out: Output, *, allow_deleted: bool = False
) -> None:
    """Changes and reports the flags: all of them, or none. Never asks.

    `change` gets a key and `expect_version`. Raises UnknownFlagError, which names all unknown
    keys. `allow_deleted` accepts the keys of flags that were deleted.
    """
    _report(_change(change, options, allow_deleted=allow_deleted), out, options)


def release_flags(change: Callable[..., Changed], options: Options, out: Output) -> None:
    """Changes and reports flags as `change_flags` does, and asks before users gain one of them."""
    changes = write_confirmed(
        lambda: [row_of(Kind.FLAG, key) for key in keys_of(options)],
        lambda: _change(change, options),
        options,
        out,
    )
    _report(changes, out, options)


def _change(
    change: Callable[..., Changed], options: Options, *, allow_deleted: bool = False
) -> list[Changed]:
    keys = keys_of(options)
    if len(keys) == 1:
        return [change(keys[0], expect_version=options["expect_version"])]
    with transaction.atomic(using=conf.database):
        _lock(keys, allow_deleted=allow_deleted)
        return [change(key, expect_version=None) for key in keys]


def _report(changes: Sequence[Changed], out: Output, options: Options) -> None:
    if len(changes) == 1:
        report_flag_change(changes[0], out, options)
    else:
        report_flag_changes(changes, out, options)


def flag_rows(keys: Sequence[str]) -> list[Row]:
    """Returns the flags of these keys. Raises UnknownFlagError, which names all unknown keys."""
    rows_by_key = {key: find_row(conf.flag_model, key) for key in keys}
    _refuse(key for key, row in rows_by_key.items() if row is None)
    return [row for row in rows_by_key.values() if row is not None]


def _lock(keys: Sequence[str], *, allow_deleted: bool) -> None:
    """Locks the flags in the order of an import and an undo, so that no two can deadlock."""
    storable = [key for key in keys if is_storable(key)]
    rows = all_rows(conf.flag_model).filter(key__in=storable).order_by("key")
    rows = rows if is_preview() else rows.select_for_update()
    existing = set(rows.values_list("key", flat=True))
    unknown = (key for key in keys if key not in existing)
    if allow_deleted:
        unknown = (key for key in unknown if deleted_pk(Kind.FLAG, key) is None)
    _refuse(unknown)


def _refuse(unknown: Iterable[str]) -> None:
    """Raises UnknownFlagError, which names all these keys, unless there are none."""
    if errors := [error for key in unknown for error in _error(key)]:
        raise UnknownFlagError(joined(errors, "\n"))


def _error(key: str) -> Iterator[str]:
    try:
        Kind.FLAG.row(key)
    except UnknownFlagError as error:
        yield str(error)
