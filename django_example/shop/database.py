"""`DATABASE_URL` as Django's database settings."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from django.core.exceptions import ImproperlyConfigured
from psycopg import ProgrammingError
from psycopg.conninfo import conninfo_to_dict

MISSING = (
    "DATABASE_URL is not set. `make demo` starts a PostgreSQL of its own and sets it. "
    "To use another server: DATABASE_URL=postgresql://user:password@127.0.0.1:5432/shop"
)
# What libpq calls it, and what Django calls it. Everything else goes to OPTIONS as it is.
NAMES = {
    "dbname": "NAME",
    "user": "USER",
    "password": "PASSWORD",
    "host": "HOST",
    "port": "PORT",
}


def database_from(environ: Mapping[str, str]) -> dict[str, Any]:
    url = environ.get("DATABASE_URL", "")
    if not url:
        raise ImproperlyConfigured(MISSING)
    try:
        # libpq reads the URL itself, so every form that psql takes works here too.
        found = conninfo_to_dict(url)
    except ProgrammingError as error:
        reason = str(error).strip()
        raise ImproperlyConfigured(f"DATABASE_URL is no address: {reason}") from error
    database = {name: str(found.pop(key)) for key, name in NAMES.items() if key in found}
    return {"ENGINE": "django.db.backends.postgresql", **database, "OPTIONS": found}
