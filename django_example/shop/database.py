"""`DATABASE_URL` as Django's database settings."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from django.core.exceptions import ImproperlyConfigured
from psycopg import ProgrammingError
from psycopg.conninfo import conninfo_to_dict

MISSING = (
    "DATABASE_URL is not set: `make demo` sets it and starts a PostgreSQL server. "
    "For your own server: DATABASE_URL=postgresql://user:password@127.0.0.1:5432/shop"
)
# libpq's names and Django's names. All other parameters go to OPTIONS.
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
        # libpq parses the URL, so all forms that psql accepts work here too.
        parameters = conninfo_to_dict(url)
    except ProgrammingError as error:
        reason = str(error).strip()
        raise ImproperlyConfigured(f"DATABASE_URL is not valid: {reason}") from error
    database = {name: str(parameters.pop(key)) for key, name in NAMES.items() if key in parameters}
    return {"ENGINE": "django.db.backends.postgresql", **database, "OPTIONS": parameters}
