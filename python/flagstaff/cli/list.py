from __future__ import annotations

from typing import Any

from django.core.management.base import CommandError, CommandParser
from django.db.models import Model

from flagstaff._tables.states import State
from flagstaff.cli.cells import Column
from flagstaff.cli.errors import USAGE
from flagstaff.cli.flags import STATE, flag_records
from flagstaff.cli.output import Output
from flagstaff.cli.parsers import Options
from flagstaff.conf import conf

__all__ = ["EXAMPLES", "HELP", "add_arguments", "run"]

HELP = "list the flags, with the state of each"
EXAMPLES = (
    "list",
    "list --state ramping --state nobody",
    "list --kind ops --json",
)

_COLUMNS = (
    Column("key"),
    STATE,
    Column(
        "rollout_percent",
        header="ROLLOUT",
        shown=lambda record: f"{record['rollout_percent']} %",
        right=True,
    ),
    Column("allowed", right=True),
    Column("kind"),
    Column("changed_at", header="CHANGED"),
    Column("description", cut=True),
)


def add_arguments(parser: CommandParser) -> None:
    """Give the parser the filters."""
    parser.add_argument(
        "--state",
        action="append",
        choices=[state.value for state in State],
        help="only flags in this state; may be given more than once",
    )
    parser.add_argument("--kind", help='only flags of this kind, such as "release" or "ops"')


def run(options: Options, out: Output) -> None:
    """Print the flags."""
    records = list(flag_records(**_of_kind(options["kind"])))
    if options["state"]:
        records = [record for record in records if record["state"] in options["state"]]
    if not records:
        filtered = options["state"] or options["kind"]
        out.say("there is no such flag" if filtered else "there is no flag")
    out.records(_COLUMNS, records)


def _of_kind(kind: str | None) -> dict[str, str]:
    if kind is None:
        return {}
    known = _kinds(conf.flag_model)
    if kind not in known:
        names = ", ".join(known) or "no kinds in this model"
        raise CommandError(f"there is no kind {kind!r}: {names}", returncode=USAGE)
    return {"kind": kind}


def _kinds(model: type[Model]) -> list[str]:
    fields: list[Any] = [field for field in model._meta.concrete_fields if field.name == "kind"]
    return [value for field in fields for value, _label in field.flatchoices]
