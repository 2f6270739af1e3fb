"""--owner and --tag: which flags they select."""

from __future__ import annotations

from collections.abc import Sequence

from django.core.management.base import CommandParser
from django.db.models import Q

from flagstaff._tables.model_fields import OWNER, TAGS
from flagstaff._tables.tags import with_tags
from flagstaff._words.cells import Column, Record, as_json
from flagstaff.cli.support.verb import Options
from flagstaff.conf import conf
from flagstaff.validators import tags_problem


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


def _tags_text(record: Record) -> str:
    tags = record[TAGS]
    return as_json(tags) if tags_problem(tags) else ", ".join(tags)


OWNER_COLUMN = Column(OWNER, truncate=True)
TAGS_COLUMN = Column(TAGS, _tags_text)
