"""libpq's password file: the password for a connection."""

from __future__ import annotations

import logging
import os
import re
import stat
from collections.abc import Iterator, Mapping
from pathlib import Path

from flagstaff.exceptions import ConfigurationError

logger = logging.getLogger("flagstaff")

# A field ends at a colon that is not escaped by a backslash.
_FIELDS = re.compile(r"((?:\\.|[^:\\])*):", re.DOTALL)
_FIELD_COUNT = 4


def password_for(path: Path, parameters: Mapping[str, str], sockets: tuple[str, ...]) -> str | None:
    """Returns the password of the first line that matches the parameters, or None.

    A host in `sockets`, the directories of local sockets, matches "localhost". Raises
    ConfigurationError if several hosts have different passwords.
    """
    lines = [*_lines(path)]
    account = _account(parameters)
    found = {_first(lines, [*server, *account]) for server in _servers(parameters, sockets)}
    if len(found) > 1:
        del found, lines  # error reports show the local variables
        raise ConfigurationError(
            "the password file has different passwords for the hosts; set a PASSWORD, or set "
            '"DATABASE" in FLAGSTAFF to an alias with one host'
        )
    return found.pop()


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
        fields = [match for match in _FIELDS.finditer(line) if not line.startswith("#")]
        fields = fields[:_FIELD_COUNT]
        if len(fields) == _FIELD_COUNT:
            rest = line[fields[-1].end() :].removesuffix("\r")
            yield [*(field[1] for field in fields), rest]


def _first(lines: list[list[str]], wanted: list[str]) -> str | None:
    for *fields, password in lines:
        if all(
            field == "*" or _plain(field) == value
            for field, value in zip(fields, wanted, strict=True)
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
