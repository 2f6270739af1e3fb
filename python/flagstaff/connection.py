"""What Django would connect with → libpq's settings, as text."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from django.db.backends.base.base import BaseDatabaseWrapper

from flagstaff.connection_options import HARMLESS

__all__ = ["connection_settings"]

# libpq's environment, for what the settings leave open.
_ENVIRONMENT = {
    "channel_binding": "PGCHANNELBINDING",
    "dbname": "PGDATABASE",
    "host": "PGHOST",
    "hostaddr": "PGHOSTADDR",
    "options": "PGOPTIONS",
    "password": "PGPASSWORD",
    "port": "PGPORT",
    "sslcert": "PGSSLCERT",
    "sslkey": "PGSSLKEY",
    "sslmode": "PGSSLMODE",
    "sslrootcert": "PGSSLROOTCERT",
    "service": "PGSERVICE",
    "target_session_attrs": "PGTARGETSESSIONATTRS",
    "user": "PGUSER",
}

# Where distributions and PostgreSQL itself put the socket of a local server.
_SOCKET_DIRECTORIES = ("/var/run/postgresql", "/tmp")  # noqa: S108


def connection_settings(connection: BaseDatabaseWrapper) -> dict[str, str]:
    """The settings by libpq's names. Reads the environment; connects nowhere.

    Never in one string: a value would have to be quoted, and a string ends up in logs.
    """
    given: Mapping[str, Any] = connection.get_connection_params()
    settings = {
        name: str(value)
        for name, value in given.items()
        if name not in HARMLESS and value is not None
    }
    for name, variable in _ENVIRONMENT.items():
        if not settings.get(name) and os.environ.get(variable):
            settings[name] = os.environ[variable]
    settings.setdefault("host", "")
    settings["host"] = settings["host"] or _local_host(settings.get("port") or "5432")
    _assume_role(connection, settings)
    return settings


def _local_host(port: str) -> str:
    """The directory of the local server's socket, as libpq takes it where no host is named."""
    for directory in _SOCKET_DIRECTORIES:
        if Path(directory, f".s.PGSQL.{port}").exists():
            return directory
    return "localhost"


def _assume_role(connection: BaseDatabaseWrapper, settings: dict[str, str]) -> None:
    """Django sets the role after connecting; a start-up option comes to the same."""
    role = connection.settings_dict["OPTIONS"].get("assume_role")
    if role:
        escaped = role.replace("\\", "\\\\").replace(" ", "\\ ")
        settings["options"] = f"{settings.get('options', '')} -c role={escaped}".strip()
