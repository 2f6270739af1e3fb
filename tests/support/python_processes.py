"""Python processes of the test project, or of a project with other settings."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from tools.limits import seconds

ROOT = Path(__file__).resolve().parent.parent.parent
#: Options with which a warning is an error.
STRICT = ("-W", "error")


def environment(database: str, **variables: str) -> dict[str, str]:
    """Returns the environment variables of a project at this database."""
    project = {"DATABASE_URL": database, "DJANGO_SETTINGS_MODULE": "tests.support.settings"}
    path = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")]))
    return os.environ | project | {"PYTHONPATH": path} | variables


def end_patiently() -> None:
    """Gives the last report of this process the second of a quiet machine."""
    from flagstaff._engine import lifecycle

    lifecycle._SHUTDOWN_TIMEOUT = seconds(lifecycle._SHUTDOWN_TIMEOUT)


def count_patiently() -> None:
    """Gives each count of users in this process a minute for each second that a page waits."""
    from flagstaff.admin.rules import offers
    from flagstaff.changes import impact

    limited = impact.limited
    for module in (impact, offers):
        setattr(module, "limited", lambda seconds: limited(60 * seconds))  # noqa: B010 (for mypy)


def run_python(
    database: str, *arguments: str, text: str = "", status: int = 0, **variables: str
) -> subprocess.CompletedProcess[str]:
    """Runs Python with these arguments to its end. It must exit with this status.

    The time limit of the test ends it.
    """
    ran = subprocess.run(
        [sys.executable, *arguments],
        cwd=ROOT,
        env=environment(database, **variables),
        input=text,
        capture_output=True,
        text=True,
        check=False,
    )
    assert ran.returncode == status, ran.stdout + ran.stderr
    return ran
