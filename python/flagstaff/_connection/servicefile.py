"""libpq's service file: named sets of connection parameters."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from pathlib import Path

from flagstaff.exceptions import ConfigurationError


def service_parameters(name: str, file: str) -> Mapping[str, str]:
    """Returns the parameters of the service `name`, by libpq's names.

    Reads `file` (default: the user's service file), then the system's file in PGSYSCONFDIR. Raises
    ConfigurationError if the service is not found or has an invalid line.
    """
    paths = list(_files(file))
    for path in paths:
        found = _section(path, name)
        if found is not None:
            return found
    raise ConfigurationError(
        f'the connection service "{name}" is not found in {" or ".join(map(str, paths))}; '
        "add it there, or set PGSERVICEFILE to the file that defines it"
    )


def _files(file: str) -> Iterator[Path]:
    own = file or os.environ.get("PGSERVICEFILE")
    yield Path(own) if own else Path("~/.pg_service.conf").expanduser()
    if os.environ.get("PGSYSCONFDIR"):
        yield Path(os.environ["PGSYSCONFDIR"], "pg_service.conf")


def _section(path: Path, name: str) -> dict[str, str] | None:
    found: dict[str, str] | None = None
    try:
        lines = path.read_text().splitlines()
    except (OSError, UnicodeDecodeError):
        return None
    for line in filter(None, map(str.strip, lines)):
        if line.startswith("#"):
            continue
        if line.startswith("["):
            if found is not None:
                break
            found = {} if line.startswith(f"[{name}]") else None
        elif found is not None:
            key, separator, value = line.partition("=")
            if not separator or key.startswith(("ldap", "service")):
                # Error reports show the local variables, and the file may have passwords.
                del found, lines, line, key, separator, value
                raise ConfigurationError(
                    f'the connection service "{name}" has an invalid line; '
                    "expected lines such as host=db"
                )
            # The first of two lines wins, as in libpq.
            found.setdefault(key, value)
    return found
