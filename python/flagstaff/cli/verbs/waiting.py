"""The verb `waiting`: waiting list, show, and the actions."""

from __future__ import annotations

from functools import partial

from flagstaff._tables.database import db
from flagstaff._tables.rows import uncached
from flagstaff._text.times import Column
from flagstaff.cli.action_verbs import action_verbs
from flagstaff.cli.options import add_key
from flagstaff.cli.output import Output
from flagstaff.cli.verb import Options, Topic, switch, verb, verb_group
from flagstaff.models import WaitingAction
from flagstaff.waiting.actions import find
from flagstaff.waiting.outlook import foresee
from flagstaff.waiting.stored import COLUMNS, KIND, OPEN, PROBLEMS, records_of


@verb(
    "waiting list",
    "waiting list --all --json",
    arguments=(switch("--all", "also actions that have ended"),),
)
def list_(options: Options, out: Output) -> None:
    """List what waits, and what did not run and needs a decision."""
    rows = uncached(WaitingAction.objects.using(db.alias)).order_by("run_at", "id")
    if not options["all"]:
        rows = rows.filter(state__in=(*OPEN, *PROBLEMS))
    out.records(COLUMNS, records_of(foresee(rows)), empty="no action waits")


@verb(
    "waiting show 12",
    "waiting show 12 --json",
    arguments=(partial(add_key, noun="waiting action"),),
)
def show(options: Options, out: Output) -> None:
    """Show a waiting action: who asked, what it would do, and what became of it."""
    [record] = records_of(foresee([find(options["key"])]))
    out.record([*map(Column, record)], record)


VERBS = (
    verb_group(
        KIND,
        "show, approve and cancel actions that wait",
        list_,
        show,
        *action_verbs(KIND),
        topic=Topic.EVERYDAY,
    ),
)
