"""Who runs the server: PostgreSQL refuses to be root, so root leaves it to `nobody`.

And `nobody` cannot look everywhere.
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
    """Return the account to change to, or None where the server runs as ourselves."""
    return pwd.getpwnam("nobody") if os.geteuid() == 0 else None


def within_reach(path: Path) -> bool:
    """Tell whether the server's account can get to `path`, which need not exist yet."""
    parents = path.absolute().parents
    return server_account() is None or all(_is_open(parent) for parent in parents)


def hand_over(path: Path) -> None:
    """Give `path` to the server's account."""
    account = server_account()
    if account is not None:
        os.chown(path, account.pw_uid, account.pw_gid)


def open_directory() -> Path:
    """Make a temporary directory that the server's account can enter."""
    usual = Path(tempfile.gettempdir())
    parent = usual if within_reach(usual / PREFIX) else Path("/tmp")  # noqa: S108 - mkdtemp
    path = Path(tempfile.mkdtemp(prefix=PREFIX, dir=parent))
    path.chmod(0o755)
    return path


def remove_directory(path: Path) -> None:
    """Remove `path`, even while the last backends of a killed server are still leaving it."""
    for _ in range(100):
        shutil.rmtree(path, ignore_errors=True)
        if not path.exists():
            return
        time.sleep(0.02)
    shutil.rmtree(path)


def _is_open(directory: Path) -> bool:
    return not directory.exists() or bool(directory.stat().st_mode & 0o001)
