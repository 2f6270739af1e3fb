"""The tags of flags in queries."""

from __future__ import annotations

from collections.abc import Collection

from django.db.models import Model, Q

from flagstaff._tables.database import db
from flagstaff._tables.model_fields import TAGS
from flagstaff._tables.rows import all_rows
from flagstaff.validators import tags_problem


def with_tags(model: type[Model], tags: Collection[str]) -> Q:
    """Returns the condition of the flags that have all these tags.

    Reads the tags of all flags if the database cannot look into JSON, as SQLite.
    """
    if db.connection.features.supports_json_field_contains:
        return Q(**{f"{TAGS}__contains": list(tags)})
    rows = all_rows(model).values_list("pk", TAGS)
    wanted = set(tags)
    return Q(
        pk__in=[pk for pk, stored in rows if isinstance(stored, list) and _has(stored, wanted)]
    )


def usable_tags(tags: object) -> list[str]:
    """Returns the tags of a row, or none if SQL has written anything else than a list of texts."""
    return tags if isinstance(tags, list) and tags_problem(tags) is None else []


def joined_tags(tags: object) -> str:
    """Returns the usable tags of a row as one line, with commas."""
    return ", ".join(usable_tags(tags))


def _has(stored: list[object], wanted: set[str]) -> bool:
    # SQL may have written anything into the list.
    return wanted.issubset(tag for tag in stored if isinstance(tag, str))
