"""DATABASE_URL as Django's DATABASES wants it."""

from __future__ import annotations

from typing import Any

from psycopg.conninfo import conninfo_to_dict

# What Django calls it, and what libpq calls it. Everything else is an option of the driver.
NAMES = {
    "NAME": "dbname",
    "USER": "user",
    "PASSWORD": "password",
    "HOST": "host",
    "PORT": "port",
}


def parse_database_url(url: str) -> dict[str, Any]:
    """Read every form of address that psql takes, because libpq itself reads it."""
    found = conninfo_to_dict(url)
    named = {ours: str(found.pop(theirs, "")) for ours, theirs in NAMES.items()}
    return {"ENGINE": "django.db.backends.postgresql", **named, "OPTIONS": found}
