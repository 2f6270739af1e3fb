"""--owner, --tag and --review-on: what they set, and which flags they select."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date
from typing import Any

from django.core.management.base import CommandParser
from django.db.models import Q

from flagstaff._tables.model_fields import OWNER, REVIEW_ON, TAGS
from flagstaff._tables.tags import with_tags
from flagstaff._words.cells import Column, Record, as_json
from flagstaff.cli.support.argument_types import day
from flagstaff.cli.support.verb import Options
from flagstaff.conf import conf
from flagstaff.validators import tags_problem

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
    """Returns the fields to set."""
    names = OWNER, TAGS, REVIEW_ON
    fields = {name: options[name] for name in names if options[name] is not None}
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
    """Returns the condition of the flags to select."""
    owner, tags = options[OWNER], options[TAGS]
    condition = Q() if owner is None else Q(owner=owner)
    return condition if tags is None else condition & with_tags(conf.flag_model, tags)


def has_owner(records: Sequence[Record]) -> bool:
    """Whether one of the flags has an owner."""
    return any(record[OWNER] for record in records)


def _date(text: str) -> date | str:
    """Parses a day such as "2027-03-01"; an empty text stays."""
    return day(text) if text else _NO_DATE


def _tags_text(record: Record) -> str:
    tags = record[TAGS]
    return as_json(tags) if tags_problem(tags) else ", ".join(tags)


OWNER_COLUMN = Column(OWNER, truncate=True)
TAGS_COLUMN = Column(TAGS, _tags_text)
