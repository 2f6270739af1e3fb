"""How Django connects: the supported databases, aliases of one of them, and raw statements.

Also the connection parameters: Django's, completed as libpq does it, as text.
"""

from __future__ import annotations

import logging
import os
import re
import stat
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any, TypeVar

from django.db import InterfaceError, OperationalError, connections, transaction
from django.db.backends.base.base import BaseDatabaseWrapper

from flagstaff.exceptions import ConfigurationError

#: What drivers raise if the database is away. All other errors are those of the project's code.
DATABASE_ERRORS = (InterfaceError, OperationalError)

_POSTGRESQL, _SQLITE = "postgresql", "sqlite"

_ADDRESS = ("ENGINE", "HOST", "PORT", "NAME")

_View = TypeVar("_View", bound=Callable[..., Any])


def is_postgresql(connection: BaseDatabaseWrapper) -> bool:
    """Whether a connection is to PostgreSQL, also with PostGIS or django-tenants.

    Only PostgreSQL has workers with a snapshot, a history, usage, webhooks and plans.
    """
    return bool(connection.vendor == _POSTGRESQL)


def is_supported(connection: BaseDatabaseWrapper) -> bool:
    """Whether flagstaff works on the database of a connection. E049 reports the others."""
    return connection.vendor in (_POSTGRESQL, _SQLITE)


def is_same_database(alias: str, other: str) -> bool:
    """Whether two aliases have the same data, judged by DATABASES. Does not connect."""
    if alias == other:
        return True
    databases = connections.settings
    if alias not in databases or other not in databases:
        return False
    if alias == databases[other]["TEST"]["MIRROR"] or other == databases[alias]["TEST"]["MIRROR"]:
        return True
    return all(databases[alias][name] == databases[other][name] for name in _ADDRESS)


def run(
    connection: BaseDatabaseWrapper, statement: str, parameters: Sequence[object] | None = None
) -> list[tuple[Any, ...]]:
    """Executes a statement and returns its rows, if it has any. Raises Django's errors.

    The connection must be open.
    """
    # SQLite's cursor is no context manager.
    with connection.wrap_database_errors, closing(connection.connection.cursor()) as cursor:
        cursor.execute(statement, parameters)
        return [tuple(row) for row in cursor.fetchall()] if cursor.description else []


@contextmanager
def savepoint(connection: BaseDatabaseWrapper) -> Iterator[list[Exception]]:
    """Undoes what fails within, and adds the error to the list. The caller's transaction goes on.

    Raises only what the next statement of the transaction would raise, such as a lost connection.
    """
    errors: list[Exception] = []
    is_open = is_postgresql(connection) and not connection.get_autocommit()
    if is_open:
        run(connection, "SAVEPOINT flagstaff")
    try:
        yield errors
    except BaseException as error:
        if is_open:
            run(connection, "ROLLBACK TO SAVEPOINT flagstaff")
        if not isinstance(error, Exception):
            raise
        errors.append(error)
    finally:
        if is_open:
            run(connection, "RELEASE SAVEPOINT flagstaff")


def outside_transactions(view: _View) -> _View:
    """Marks `view`, and returns it: no database opens a transaction for it. Opens no connection."""
    for alias in connections:
        view = transaction.non_atomic_requests(using=alias)(view)
    return view


# Parameters of Django and of the Python driver. All others go to the engine, which refuses those
# that it does not know: a connection never gets less protection than they require.
_OF_PYTHON = frozenset(
    {
        "assume_role",  # passed on as a start-up option
        "autocommit",
        "connection_factory",
        "context",
        "cursor_factory",
        "isolation_level",
        "pool",
        "prepare_threshold",
        "row_factory",
        "server_side_binding",
    }
)

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
    django_parameters: Mapping[str, object] = connection.get_connection_params()
    parameters = _Parameters(
        (name, str(value))
        for name, value in django_parameters.items()
        if name not in _OF_PYTHON and value is not None
    )
    del django_parameters  # it has the password, and the next calls may raise
    _fill(parameters, _from_service(parameters))
    _fill(parameters, _from_environment())
    # A server that is given by hostaddr only is not local.
    if not parameters.get("host") and not parameters.get("hostaddr"):
        parameters["host"] = _local_host(parameters.get("port") or "5432")
    _add_password(parameters)
    _assume_role(connection, parameters)
    return parameters


def _fill(parameters: dict[str, str], defaults: Mapping[str, str]) -> None:
    """Adds the parameters that are missing."""
    parameters.update({name: defaults[name] for name in defaults if not parameters.get(name)})


def _from_service(parameters: dict[str, str]) -> Mapping[str, str]:
    file = parameters.pop("servicefile", "")
    name = parameters.pop("service", "") or os.environ.get("PGSERVICE")
    return service_parameters(name, file) if name else {}


def _from_environment() -> dict[str, str]:
    values = {name: os.environ.get(variable, "") for name, variable in _ENVIRONMENT.items()}
    if not values["sslmode"] and os.environ.get("PGREQUIRESSL", "").startswith("1"):
        values["sslmode"] = "require"  # the older variable
    return {name: value for name, value in values.items() if value}


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


def service_parameters(name: str, file: str) -> Mapping[str, str]:
    """Returns the parameters of the service `name`, by libpq's names.

    Reads `file` (default: the user's service file), then the system's file in PGSYSCONFDIR. Raises
    ConfigurationError if the service is not found or has an invalid line.
    """
    paths = list(_files(file))
    for path in paths:
        section = _section(path, name)
        if section is not None:
            return section
    raise ConfigurationError(
        'the connection service "{name}" is not found in {paths}; '
        "add it there, or set PGSERVICEFILE to the file that defines it",
        name=name,
        paths=" or ".join(map(str, paths)),
    )


def _files(file: str) -> Iterator[Path]:
    path = file or os.environ.get("PGSERVICEFILE")
    yield Path(path) if path else Path("~/.pg_service.conf").expanduser()
    if os.environ.get("PGSYSCONFDIR"):
        yield Path(os.environ["PGSYSCONFDIR"], "pg_service.conf")


def _section(path: Path, name: str) -> dict[str, str] | None:
    section: dict[str, str] | None = None
    try:
        lines = path.read_text().splitlines()
    except (OSError, UnicodeDecodeError):
        return None
    for line in filter(None, map(str.strip, lines)):
        if line.startswith("#"):
            continue
        if line.startswith("["):
            if section is not None:
                break
            section = {} if line.startswith(f"[{name}]") else None
        elif section is not None:
            key, separator, value = line.partition("=")
            if not separator or key.startswith(("ldap", "service")):
                # Error reports show the local variables, and the file may have passwords.
                del section, lines, line, key, separator, value
                raise ConfigurationError(
                    'the connection service "{name}" has an invalid line; '
                    "expected lines such as host=db",
                    name=name,
                )
            # The first of two lines wins, as in libpq.
            section.setdefault(key, value)
    return section


logger = logging.getLogger("flagstaff")

# Four fields and the password. A field ends at a colon that is not escaped by a backslash.
_LINE = re.compile(r"((?:\\.|[^:\\])*):" * 4 + r"(.*?)\r?", re.DOTALL)


def password_for(path: Path, parameters: Mapping[str, str], sockets: tuple[str, ...]) -> str | None:
    """Returns the password of the first line that matches the parameters, or None.

    A host in `sockets`, the directories of local sockets, matches "localhost". Raises
    ConfigurationError if several hosts have different passwords.
    """
    lines = [*_lines(path)]
    account = _account(parameters)
    passwords = {_first(lines, [*server, *account]) for server in _servers(parameters, sockets)}
    if len(passwords) > 1:
        del passwords, lines  # error reports show the local variables
        raise ConfigurationError(
            "the password file has different passwords for the hosts; set a PASSWORD, or set "
            '"DATABASE" in FLAGSTAFF to an alias with one host'
        )
    return passwords.pop()


def _lines(path: Path) -> Iterator[list[str]]:
    """Yields the raw fields of each line. Ignores a file that others may read, as libpq does."""
    try:
        mode = path.stat().st_mode
        if not stat.S_ISREG(mode) or (os.name == "posix" and mode & 0o077):
            logger.warning("the password file is ignored: it must be a plain file with mode 0600")
            return
        text = path.read_text(errors="surrogateescape")
    except OSError:  # as in libpq, no error: the server will reject the log-in
        return
    for line in text.split("\n"):
        if not line.startswith("#") and (match := _LINE.fullmatch(line)):
            yield [*match.groups()]


def _first(lines: list[list[str]], login: list[str]) -> str | None:
    for *fields, password in lines:
        if all(
            field == "*" or _plain(field) == value
            for field, value in zip(fields, login, strict=True)
        ):
            return _plain(password)
    return None


def _plain(text: str) -> str:
    return re.sub(r"\\(.)", r"\1", text)


def _servers(parameters: Mapping[str, str], sockets: tuple[str, ...]) -> Iterator[tuple[str, str]]:
    """Yields the host and port of each server."""
    hosts = (parameters.get("host") or parameters.get("hostaddr") or "localhost").split(",")
    ports = (parameters.get("port") or "5432").split(",")
    for number, host in enumerate(hosts):
        port = ports[number] if number < len(ports) else ports[0]
        yield "localhost" if host in sockets else host, port or "5432"


def _account(parameters: Mapping[str, str]) -> tuple[str, str]:
    user = parameters.get("user") or _system_user()
    return parameters.get("dbname") or user, user


def _system_user() -> str:
    import getpass  # noqa: PLC0415 (imports much that is rarely needed)

    try:
        return getpass.getuser()
    except (OSError, KeyError, ImportError):  # the user id has no name
        return ""
