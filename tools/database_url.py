"""Converts DATABASE_URL to Django's DATABASES."""

from __future__ import annotations

from typing import Any

from psycopg.conninfo import conninfo_to_dict

# Django's names and libpq's names. Everything else is an option of the driver.
NAMES = {
    "NAME": "dbname",
    "USER": "user",
    "PASSWORD": "password",
    "HOST": "host",
    "PORT": "port",
}


def parse_database_url(url: str) -> dict[str, Any]:
    """Parses every form of address that psql accepts, because libpq itself parses it."""
    parameters = conninfo_to_dict(url)
    named = {django: str(parameters.pop(libpq, "")) for django, libpq in NAMES.items()}
    return {"ENGINE": "django.db.backends.postgresql", **named, "OPTIONS": parameters}
