"""--owner, --tag and --review-on: what they set, and which flags they select."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date
from typing import Any

from django.core.management.base import CommandError, CommandParser
from django.db.models import Q

from flagstaff._tables.optional_fields import OWNER, REVIEW_ON, TAGS, WITHOUT_OWNER, flag_model
from flagstaff._tables.tags import with_tags
from flagstaff._words.cells import Column, Record, as_json
from flagstaff.cli.support.argument_types import day
from flagstaff.cli.support.errors import USAGE
from flagstaff.cli.support.verb import Options
from flagstaff.conf import conf
from flagstaff.validators import tags_problem

_FILTERS = {OWNER: "--owner", TAGS: "--tag"}
# What the option sets or selects if its text is empty.
_NO_DATE = ""


def add_ownership(parser: CommandParser) -> None:
    """Adds the options that set the three fields."""
    parser.add_argument(
        "--owner",
        metavar="NAME",
        help='the person or team that decides about the flag; "" for none',
    )
    parser.add_argument(
        "--tag",
        dest=TAGS,
        action="append",
        metavar="TAG",
        help='a tag; can be repeated. The given tags replace all tags; "" for none',
    )
    parser.add_argument(
        "--review-on",
        metavar="DATE",
        type=_date,
        help='the day to decide whether the flag is still needed, as YYYY-MM-DD; "" for none',
    )


def ownership(options: Options) -> dict[str, Any]:
    """Returns the fields to set. Raises InvalidChangeError if the flag model lacks one."""
    names = OWNER, TAGS, REVIEW_ON
    fields = {name: options[name] for name in names if options[name] is not None}
    for name in fields:
        flag_model().require(name)
    if fields.get(REVIEW_ON) == _NO_DATE:
        fields[REVIEW_ON] = None
    if fields.get(TAGS) == [""]:
        fields[TAGS] = []
    return fields


def add_ownership_filters(parser: CommandParser) -> None:
    """Adds the options that select flags."""
    parser.add_argument(
        "--owner", metavar="NAME", help='only flags of this owner; "" for flags without an owner'
    )
    parser.add_argument(
        "--tag",
        dest=TAGS,
        action="append",
        metavar="TAG",
        help="only flags with this tag; if repeated, only flags with all these tags",
    )


def ownership_filter(options: Options) -> Q:
    """Returns the condition of the flags to select. Raises CommandError if the model lacks one."""
    owner, tags = options[OWNER], options[TAGS]
    for name in (OWNER, TAGS):
        if options[name] is not None and not flag_model().has(name):
            raise CommandError(
                f"the flag model of this project has no field {name}; add it, or leave out "
                f"{_FILTERS[name]}",
                returncode=USAGE,
            )
    condition = Q()
    if owner is not None:
        condition &= Q(owner=owner) if owner else WITHOUT_OWNER
    return condition if tags is None else condition & with_tags(conf.flag_model, tags)


def has_owner(records: Sequence[Record]) -> bool:
    """Whether one of the flags has an owner."""
    return flag_model().has(OWNER) and any(record[OWNER] for record in records)


def _date(text: str) -> date | str:
    """Parses a day such as "2027-03-01"; an empty text stays."""
    return day(text) if text else _NO_DATE


def _tags_text(record: Record) -> str:
    tags = record[TAGS]
    return as_json(tags) if tags_problem(tags) else ", ".join(tags)


OWNER_COLUMN = Column(OWNER, truncate=True)
TAGS_COLUMN = Column(TAGS, _tags_text)
