"""libpq's password file: which line of it is about a connection."""

from __future__ import annotations

import logging
import os
import re
import stat
from collections.abc import Iterator, Mapping
from pathlib import Path

from flagstaff.exceptions import ConfigurationError

__all__ = ["password_for"]

logger = logging.getLogger("flagstaff")

# A field ends at a colon, unless a backslash stands before it.
_FIELDS = re.compile(r"((?:\\.|[^:\\])*):", re.DOTALL)
_FIELDS_BEFORE_THE_PASSWORD = 4


def password_for(path: Path, settings: Mapping[str, str], sockets: tuple[str, ...]) -> str | None:
    """The password of the first line that matches these settings, None where there is none.

    A host that is one of `sockets`, where a local server's socket is, goes as "localhost". A list
    of hosts has one password here; raises ConfigurationError where the file has several for it.
    """
    lines = [*_lines(path)]
    found = {_first(lines, [*place, *_account(settings)]) for place in _places(settings, sockets)}
    if len(found) > 1:
        raise ConfigurationError(
            "the password file has not the same password for every host; name a PASSWORD, or an "
            'alias with one host as "DATABASE" in FLAGSTAFF'
        )
    return found.pop()


def _lines(path: Path) -> Iterator[list[str]]:
    """The fields of each line, as they are written. Nothing where the file is open to others."""
    try:
        mode = path.stat().st_mode
        if not stat.S_ISREG(mode) or (os.name == "posix" and mode & 0o077):
            logger.warning(
                "the password file is left aside: it must be a plain file with mode 0600"
            )
            return
        text = path.read_text(errors="surrogateescape")
    except OSError:  # libpq says nothing either: the server will ask for the password
        return
    for line in text.split("\n"):
        fields = [match for match in _FIELDS.finditer(line) if not line.startswith("#")]
        fields = fields[:_FIELDS_BEFORE_THE_PASSWORD]
        if len(fields) == _FIELDS_BEFORE_THE_PASSWORD:
            rest = line[fields[-1].end() :].removesuffix("\r")
            yield [*(field[1] for field in fields), rest]


def _first(lines: list[list[str]], asked: list[str]) -> str | None:
    for *fields, password in lines:
        if all(
            field == "*" or _plain(field) == value
            for field, value in zip(fields, asked, strict=True)
        ):
            return _plain(password)
    return None


def _plain(text: str) -> str:
    return re.sub(r"\\(.)", r"\1", text)


def _places(settings: Mapping[str, str], sockets: tuple[str, ...]) -> Iterator[tuple[str, str]]:
    """Host and port of each server that may be connected to."""
    hosts = (settings.get("host") or settings.get("hostaddr") or "localhost").split(",")
    ports = (settings.get("port") or "5432").split(",")
    for number, host in enumerate(hosts):
        port = ports[number if len(ports) > 1 else 0] if number < len(ports) else ports[0]
        yield "localhost" if host in sockets else host, port or "5432"


def _account(settings: Mapping[str, str]) -> tuple[str, str]:
    user = settings.get("user") or _system_user()
    return settings.get("dbname") or user, user


def _system_user() -> str:
    import getpass  # noqa: PLC0415 (it brings much that is seldom needed)

    try:
        return getpass.getuser()
    except (OSError, KeyError, ImportError):  # no name for our number
        return ""
