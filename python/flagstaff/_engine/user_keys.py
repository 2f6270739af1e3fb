"""Primary keys of users as text."""

from __future__ import annotations

from collections.abc import Callable

from flagstaff._tables.names import user_field
from flagstaff.conf import conf


def key_to_text() -> Callable[[object], str]:
    """Returns the function that turns a key, as a query returns it, into text."""
    # SQLite stores a UUID as 32 digits.
    to_python = user_field(conf.flag_model).to_python
    return lambda user_pk: str(to_python(user_pk))
