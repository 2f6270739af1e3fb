"""libpq's file of services: connection settings under a name."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from pathlib import Path

from flagstaff.exceptions import ConfigurationError

__all__ = ["settings_of_service"]


def settings_of_service(name: str, file: str) -> Mapping[str, str]:
    """The settings of the service `name`, by libpq's names.

    Looked for in `file`, by default the user's own, and then in the system's, as far as
    PGSYSCONFDIR says where that is. Raises ConfigurationError where it is not found, or not
    understood.
    """
    for path in _files(file):
        found = _section(path, name)
        if found is not None:
            return found
    raise ConfigurationError(
        f'the service "{name}" of the connection is not found in ~/.pg_service.conf; '
        "name the file that has it by PGSERVICEFILE"
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
                raise ConfigurationError(
                    f'the service "{name}" of the connection has a line that is not understood; '
                    "expected lines such as host=db"
                )
            # libpq keeps the first of two, too.
            found.setdefault(key, value)
    return found
