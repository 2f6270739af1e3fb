"""Primary keys of users as parameters of a query."""

from __future__ import annotations

from collections.abc import Callable

from django.core.exceptions import ValidationError
from django.db import connections

from flagstaff._tables.names import user_field
from flagstaff.conf import conf


def key_parameter(user: str) -> object:
    """Returns what a query compares with the key of a user, given as text.

    Returns None if no user can have this key. Only canonical text is a key: "042" is no integer
    key, and a UUID is lower-case.
    """
    field = user_field(conf.flag_model)
    try:
        pk = field.to_python(user)
    except ValidationError:
        return None
    if str(pk) != user or not _is_valid_parameter(pk):
        return None
    return field.get_db_prep_value(pk, connections[conf.database])


def key_to_text() -> Callable[[object], str]:
    """Returns the function that turns a key, as a query returns it, into text."""
    # SQLite stores a UUID as 32 digits.
    to_python = user_field(conf.flag_model).to_python
    return lambda user_pk: str(to_python(user_pk))


def _is_valid_parameter(pk: object) -> bool:
    """Returns True if a database can store the key; drivers reject others with an error."""
    if isinstance(pk, int):
        return -(2**63) <= pk < 2**63
    return not (isinstance(pk, str) and "\0" in pk)
