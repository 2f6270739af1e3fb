"""The history: history, forget-user."""

from __future__ import annotations

from itertools import islice

from flagstaff._words.cells import Column
from flagstaff._words.text import MAX_VALUE, counted
from flagstaff.cli.options import (
    add_dry_run,
    add_kinds,
    add_period,
    add_yes,
    chosen_kinds,
    count,
)
from flagstaff.cli.output import Output
from flagstaff.cli.question import require_confirmation
from flagstaff.cli.undo_verbs import matching_entries, print_similar_actor, require_key
from flagstaff.cli.verb import Options, Topic, Written, option, switch, verb
from flagstaff.history import Event, as_csv, as_dicts, events, unreadable_kinds
from flagstaff.history import forget_user as forget
from flagstaff.history.describe import describe_actor, describe_change
from flagstaff.history.log import has_history, require_history
from flagstaff.history.user_names import names_of_actors

_COLUMNS = (
    Column("version", align_right=True),
    Column("at", header="WHEN"),
    Column("kind"),
    Column("key"),
    Column("summary", header="CHANGE", below=True),
    Column("actor", below=True),
    Column("source", below=True),
    Column("reason", below=True),
)


@verb(
    "history new_checkout",
    "history --limit 5 --json",
    "history --since 1h --by alice",
    "history new_checkout payment_gateway --since 10:00",
    "history payment_gateway --value --csv",
    topic=Topic.INCIDENT,
    arguments=(
        option("keys", "the keys; by default all keys", "KEY", nargs="*"),
        add_kinds("only the history of %ss"),
        add_period("events"),
        option("--limit", "the number of events, by default 20", "N", type=count(1), default=20),
        switch("--csv", "print CSV with a header"),
    ),
)
def history(options: Options, out: Output) -> None:
    """Show who changed what, when and why.

    Lists events, the newest first: all changes by one actor to one flag, value or segment in one
    transaction are one event. A TIME without a UTC offset is in Django's time zone; a time of day
    that is in the future is yesterday's. `--by` does not find changes without an actor, whose
    source has the user of the shell. Summaries show at most 300 characters of each value; `--json`
    and `--csv` have whole values, and the primary keys of added and removed users.
    """
    found = _events(options, out)
    shown = found[: options["limit"]]
    if options["csv"]:
        out.line(as_csv(shown).rstrip("\r\n"))
        return
    actors = {} if out.is_json else names_of_actors(shown)
    records = [
        {
            "version": event.version,
            "at": event.at,
            "kind": event.kind,
            "key": event.key,
            "summary": describe_change(event, limit=MAX_VALUE),
            "actor": describe_actor(event, actors),
            "source": event.source,
            "reason": event.reason,
        }
        for event in shown
    ]
    document = as_dicts(shown) if out.is_json else None
    out.records(_COLUMNS, records, document=document, empty="no matching entries")
    if out.is_terminal and len(found) > len(shown):
        out.message("for older events, pass --until TIME or a larger --limit")


def _events(options: Options, out: Output) -> list[Event]:
    """Returns the newest events, one more than the limit if there are more."""
    kinds, keys = chosen_kinds(options), options["keys"]
    hidden = {*kinds}.intersection(unreadable_kinds() if has_history() else ())
    if hidden:
        names = " and ".join(f"{kind.value}s" for kind in kinds if kind in hidden)
        out.message(f"{names} are left out: this database user may not read them")
    kinds = [kind for kind in kinds if kind not in hidden]
    require_history()
    entries = matching_entries(options, kinds)
    for key in keys:
        if not entries.of_keys(kinds, [key]).exists():
            require_key(key, kinds)
    if keys:
        entries = entries.of_keys(kinds, keys)
    # A program gets whole values and all users, a person the start.
    entries = entries if options["csv"] or out.is_json else entries.short()
    found = list(islice(events(entries.in_batches()), options["limit"] + 1))
    if not found:
        print_similar_actor(options["by"], out)
    return found


@verb(
    "forget-user 987654321 --dry-run",
    "forget-user 987654321 --yes",
    topic=Topic.UPKEEP,
    arguments=(option("pk", "the primary key of the deleted user", "PK"), add_yes, add_dry_run),
)
def forget_user(options: Options, out: Output) -> Written:
    """Remove a deleted user from the history.

    As an actor, and from the recorded allowed users; the entries stay. Rollout plans and events of
    experiments lose the actor, too, and experiments lose the exposures of the user.
    """
    pk = options["pk"]
    question = f"Remove user {pk} from the history? This cannot be undone."
    require_confirmation(question, options, out)
    number = forget(pk)
    out.message(f"removed user {pk} from {counted(number, 'history entry', 'history entries')}")
    return Written({"pk": pk, "entries": number}, number > 0)
