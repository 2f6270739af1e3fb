"""What Django would connect with → libpq's settings, as text."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from django.db.backends.base.base import BaseDatabaseWrapper

from flagstaff._connection.options import HARMLESS
from flagstaff._connection.passfile import password_for
from flagstaff._connection.servicefile import settings_of_service

__all__ = ["connection_settings"]

# libpq's environment, for what the settings leave open: all that says whom to connect to, or how
# safely. What the engine does not support is read too, so that it is refused and not overlooked.
_ENVIRONMENT = {
    "channel_binding": "PGCHANNELBINDING",
    "dbname": "PGDATABASE",
    "gssencmode": "PGGSSENCMODE",
    "host": "PGHOST",
    "hostaddr": "PGHOSTADDR",
    "min_protocol_version": "PGMINPROTOCOLVERSION",
    "options": "PGOPTIONS",
    "passfile": "PGPASSFILE",
    "password": "PGPASSWORD",
    "port": "PGPORT",
    "require_auth": "PGREQUIREAUTH",
    "requirepeer": "PGREQUIREPEER",
    "ssl_max_protocol_version": "PGSSLMAXPROTOCOLVERSION",
    "ssl_min_protocol_version": "PGSSLMINPROTOCOLVERSION",
    "sslcert": "PGSSLCERT",
    "sslcertmode": "PGSSLCERTMODE",
    "sslcrl": "PGSSLCRL",
    "sslcrldir": "PGSSLCRLDIR",
    "sslkey": "PGSSLKEY",
    "sslmode": "PGSSLMODE",
    "sslnegotiation": "PGSSLNEGOTIATION",
    "sslrootcert": "PGSSLROOTCERT",
    "sslsni": "PGSSLSNI",
    "target_session_attrs": "PGTARGETSESSIONATTRS",
    "user": "PGUSER",
}

# Where distributions and PostgreSQL itself put the socket of a local server.
_SOCKET_DIRECTORIES = ("/var/run/postgresql", "/tmp")  # noqa: S108


class _Settings(dict[str, str]):
    """Shown by its names alone: reports of errors show what each function had in its hands."""

    def __repr__(self) -> str:
        return f"<settings of a connection: {', '.join(self)}>"


def connection_settings(connection: BaseDatabaseWrapper) -> dict[str, str]:
    """The settings by libpq's names. Reads the environment; connects nowhere.

    Never in one string: a value would have to be quoted, and a string ends up in logs.
    """
    given: Mapping[str, Any] = connection.get_connection_params()
    settings = _Settings(
        (name, str(value))
        for name, value in given.items()
        if name not in HARMLESS and value is not None
    )
    del given  # it has the password, and what follows may raise
    _fill(settings, _of_service(settings))
    _fill(settings, _of_environment())
    # Named by its address alone, a server is not looked for at a socket.
    if not settings.get("host") and not settings.get("hostaddr"):
        settings["host"] = _local_host(settings.get("port") or "5432")
    _password(settings)
    _assume_role(connection, settings)
    return settings


def _fill(settings: dict[str, str], others: Mapping[str, str]) -> None:
    """Take from the others what is left open."""
    settings.update({name: others[name] for name in others if not settings.get(name)})


def _of_service(settings: dict[str, str]) -> Mapping[str, str]:
    file = settings.pop("servicefile", "")
    name = settings.pop("service", "") or os.environ.get("PGSERVICE")
    return settings_of_service(name, file) if name else {}


def _of_environment() -> dict[str, str]:
    found = {name: os.environ.get(variable, "") for name, variable in _ENVIRONMENT.items()}
    if not found["sslmode"] and os.environ.get("PGREQUIRESSL", "").startswith("1"):
        found["sslmode"] = "require"  # its name before there were modes
    return {name: value for name, value in found.items() if value}


def _password(settings: dict[str, str]) -> None:
    """From the password file, where none is given."""
    path = Path(settings.pop("passfile", "") or "~/.pgpass").expanduser()
    if not settings.get("password"):
        _fill(settings, {"password": password_for(path, settings, _SOCKET_DIRECTORIES) or ""})


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
