"""The connection parameters: Django's, completed as libpq does it, as text."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

from django.db.backends.base.base import BaseDatabaseWrapper

from flagstaff._connection.options import IGNORED
from flagstaff._connection.passfile import password_for
from flagstaff._connection.servicefile import service_parameters

# libpq's environment variables: all that affect which server to connect to, or how securely.
# Unsupported parameters are read too, so that they are an error instead of being ignored.
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

# Where distributions and PostgreSQL itself create the socket of a local server.
_SOCKET_DIRECTORIES = ("/var/run/postgresql", "/tmp")  # noqa: S108


class _Parameters(dict[str, str]):
    """Its repr has no values, because error reports show the local variables of each frame."""

    def __repr__(self) -> str:
        return f"<connection parameters: {', '.join(self)}>"


def connection_parameters(connection: BaseDatabaseWrapper) -> dict[str, str]:
    """Returns the parameters by libpq's names. Reads files and the environment; does not connect.

    Never one string: it would need quoting, and strings end up in logs.
    """
    given: Mapping[str, object] = connection.get_connection_params()
    parameters = _Parameters(
        (name, str(value))
        for name, value in given.items()
        if name not in IGNORED and value is not None
    )
    del given  # it has the password, and the next calls may raise
    _fill(parameters, _from_service(parameters))
    _fill(parameters, _from_environment())
    # A server that is given by hostaddr only is not local.
    if not parameters.get("host") and not parameters.get("hostaddr"):
        parameters["host"] = _local_host(parameters.get("port") or "5432")
    _add_password(parameters)
    _assume_role(connection, parameters)
    return parameters


def _fill(parameters: dict[str, str], others: Mapping[str, str]) -> None:
    """Adds the parameters that are missing."""
    parameters.update({name: others[name] for name in others if not parameters.get(name)})


def _from_service(parameters: dict[str, str]) -> Mapping[str, str]:
    file = parameters.pop("servicefile", "")
    name = parameters.pop("service", "") or os.environ.get("PGSERVICE")
    return service_parameters(name, file) if name else {}


def _from_environment() -> dict[str, str]:
    found = {name: os.environ.get(variable, "") for name, variable in _ENVIRONMENT.items()}
    if not found["sslmode"] and os.environ.get("PGREQUIRESSL", "").startswith("1"):
        found["sslmode"] = "require"  # the older variable
    return {name: value for name, value in found.items() if value}


def _add_password(parameters: dict[str, str]) -> None:
    """Adds the password from the password file if none is given."""
    path = Path(parameters.pop("passfile", "") or "~/.pgpass").expanduser()
    if not parameters.get("password"):
        _fill(parameters, {"password": password_for(path, parameters, _SOCKET_DIRECTORIES) or ""})


def _local_host(port: str) -> str:
    """Returns the directory of the local server's socket, as libpq does without a host."""
    for directory in _SOCKET_DIRECTORIES:
        if Path(directory, f".s.PGSQL.{port}").exists():
            return directory
    return "localhost"


def _assume_role(connection: BaseDatabaseWrapper, parameters: dict[str, str]) -> None:
    """Sets the role by a start-up option; Django sets it after connecting."""
    role = connection.settings_dict["OPTIONS"].get("assume_role")
    if role:
        escaped = role.replace("\\", "\\\\").replace(" ", "\\ ")
        parameters["options"] = f"{parameters.get('options', '')} -c role={escaped}".strip()
