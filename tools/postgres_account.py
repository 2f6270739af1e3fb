"""The account that runs the server: PostgreSQL refuses to run as root, so root uses `nobody`.

The account `nobody` cannot enter every directory.
"""

from __future__ import annotations

import os
import pwd
import shutil
import tempfile
import time
from pathlib import Path

PREFIX = "flagstaff-"


def server_account() -> pwd.struct_passwd | None:
    """Returns the account to switch to; None if the server runs as this process's user."""
    return pwd.getpwnam("nobody") if os.geteuid() == 0 else None


def within_reach(path: Path) -> bool:
    """Returns True if the server's account can reach `path`, which need not exist yet."""
    parents = path.absolute().parents
    return server_account() is None or all(_is_open(parent) for parent in parents)


def give_to_postgres(path: Path) -> None:
    """Makes the server's account the owner of `path`."""
    account = server_account()
    if account is not None:
        os.chown(path, account.pw_uid, account.pw_gid)


def open_directory() -> Path:
    """Creates a temporary directory that the server's account can enter."""
    usual = Path(tempfile.gettempdir())
    parent = usual if within_reach(usual / PREFIX) else Path("/tmp")  # noqa: S108 (mkdtemp)
    path = Path(tempfile.mkdtemp(prefix=PREFIX, dir=parent))
    path.chmod(0o755)
    return path


def remove_directory(path: Path) -> None:
    """Deletes `path`, even while the last backends of a killed server still use it."""
    for _ in range(100):
        shutil.rmtree(path, ignore_errors=True)
        if not path.exists():
            return
        time.sleep(0.02)
    shutil.rmtree(path)


def _is_open(directory: Path) -> bool:
    return not directory.exists() or bool(directory.stat().st_mode & 0o001)
