from __future__ import annotations

from django.core.management.base import CommandError, CommandParser

from flagstaff import changes
from flagstaff.cli.errors import USAGE
from flagstaff.cli.outcomes import tell_change, tell_change_of_flag, tell_changes
from flagstaff.cli.output import Output
from flagstaff.cli.parsers import Options
from flagstaff.cli.writing import add_change
from flagstaff.history.kinds import Kind
from flagstaff.history.transactions import parts_of
from flagstaff.history.versions import all_entries, entries_of_key, has_history
from flagstaff.models import Change

__all__ = ["EXAMPLES", "HELP", "add_arguments", "run"]

HELP = "take back one change, by default the newest"
EXAMPLES = (
    "undo new_checkout",
    "undo new_checkout 17",
    "undo payment_gateway 18 --value",
    "undo --transaction 19",
)

_MOST_NAMED = 5


def add_arguments(parser: CommandParser) -> None:
    """Give the parser the key and the change."""
    add_change(parser, nargs="?")
    parser.add_argument(
        "change", metavar="CHANGE", type=int, nargs="?", help="a version that `history` tells"
    )
    parser.add_argument("--value", action="store_true", help="the key is a value's")
    parser.add_argument(
        "--transaction",
        type=int,
        metavar="CHANGE",
        help="all that was changed together with this, of flags and values, as by an import",
    )


def run(options: Options, out: Output) -> None:
    """Take it back, and tell of it."""
    if options["transaction"] is not None:
        _run_transaction(options, out)
        return
    key, change, version = options["key"], options["change"], options["expect_version"]
    if key is None:
        raise CommandError("which flag? Type its key, or --transaction CHANGE", returncode=USAGE)
    kind = Kind.VALUE if options["value"] else Kind.FLAG
    entry = _entry(kind, key, change)
    undo = changes.undo_value if options["value"] else changes.undo
    changed = undo(key, change, expect_version=version)
    _say_beside(entry, out)
    tell = tell_change if options["value"] else tell_change_of_flag
    tell(changed, out, options)


def _run_transaction(options: Options, out: Output) -> None:
    if options["key"] is not None or options["expect_version"] is not None:
        told = "--transaction goes with no key; its versions are always compared"
        raise CommandError(told, returncode=USAGE)
    tell_changes(changes.undo_transaction(options["transaction"]), out, options)


def _entry(kind: Kind, key: str, change: int | None) -> Change | None:
    """The change that is taken back; if none is said the newest, if it is one of the row itself."""
    if not has_history():
        return None
    if change is not None:
        return all_entries().filter(id=change).first()
    return entries_of_key(kind, key).order_by("-id").first()


def _say_beside(entry: Change | None, out: Output) -> None:
    """Say that the change was one of many."""
    if entry is None:
        return
    # By the primary key, for it may have another key by now.
    own = Kind.of(entry.relation), entry.object_pk
    others = [part.key for part in parts_of(entry.pk) if (part.kind, part.pk) != own]
    if others:
        named = ", ".join(others[:_MOST_NAMED]) + (", …" if len(others) > _MOST_NAMED else "")
        out.say(
            f"{named} changed with it; all of it: manage.py flags undo --transaction {entry.pk}"
        )
