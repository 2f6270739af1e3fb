from __future__ import annotations

from typing import Any

from flagstaff._tables.rows import flag_row
from flagstaff._tables.users import allowed_user_table
from flagstaff.cli.cells import Column, Record
from flagstaff.cli.flags import STATE, flag_record, who_has_it
from flagstaff.cli.output import Output
from flagstaff.cli.parsers import Options, add_key

__all__ = ["EXAMPLES", "HELP", "add_arguments", "run"]

HELP = "say who has a flag, and show its fields"
EXAMPLES = (
    "show new_checkout",
    "show new_checkout --json",
)

# A person wants an impression of the allow-list, a program all of it.
_MOST_NAMED = 10

add_arguments = add_key


def run(options: Options, out: Output) -> None:
    """Print who has the flag, and its fields."""
    flag = flag_row(options["key"])
    record = flag_record(flag)
    sentence = who_has_it(record)
    users = _allowed_users(flag, _MOST_NAMED if out.is_terminal else None)
    out.lead("who", sentence)
    columns = [STATE if name == STATE.name else Column(name) for name in record]
    out.record([*columns, _ALLOWED_USERS], {"who": sentence, **record, "allowed_users": users})


def _allowed_users(flag: Any, most: int | None) -> list[dict[str, Any]]:
    users = flag.allowed_users.order_by("pk")[:most]
    return [{"pk": user.pk, "name": allowed_user_table().name_of(user)} for user in users]


def _named(record: Record) -> str:
    names = ", ".join(user["name"] for user in record["allowed_users"])
    more = record["allowed"] - len(record["allowed_users"])
    return f"{names} and {more:,} more" if more else names


_ALLOWED_USERS = Column("allowed_users", shown=_named)
