"""Check a wheel: `python -m tools.check_wheel dist/*.whl`.

Checks its contents, and installs it into bare environments without Rust: one for the oldest and one
for the newest Python of this machine. There it has to evaluate flags on SQLite, and on PostgreSQL
if DATABASE_URL is set, for which this script needs psycopg. Otherwise it needs only Python.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from zipfile import ZipFile

from tools.newest_python import candidates, works
from tools.package_page import metadata_of

SMOKE = Path(__file__).with_name("smoke.py")
MINORS = range(10, 15)
LARGEST = 3_900_000
# Files that a wheel from an incomplete source folder would lack.
PARTS = (
    "flagstaff/py.typed",
    "flagstaff/__init__.pyi",
    "flagstaff/_core.pyi",
    "flagstaff/locale/django.pot",
    "flagstaff/locale/de/LC_MESSAGES/django.mo",
    "flagstaff/sql/history_triggers_v1.sql",
    "flagstaff/static/flagstaff/admin.css",
    "flagstaff/templates/flagstaff/row.html",
    ".dist-info/METADATA",
    ".dist-info/licenses/LICENSE",
    ".dist-info/sboms/flagstaff.cyclonedx.json",
)
STRAY = ("__pycache__", ".pyc", "tests/", "tools/")


def main() -> int:
    """Checks the wheel given as the argument."""
    if len(sys.argv) != 2:  # noqa: PLR2004 (the script's name and the wheel's)
        sys.exit(__doc__)
    wheel = Path(sys.argv[1]).resolve()
    if problems := list(problems_of(wheel)):
        sys.exit("\n".join(f"{wheel.name}: {problem}" for problem in problems))
    print(f"{wheel.name}: {wheel.stat().st_size / 1e6:.2f} MB")
    for python in pythons():
        try_out(wheel, python)
    return 0


def problems_of(wheel: Path) -> list[str]:
    """Returns the problems that are visible without installing it."""
    names = ZipFile(wheel).namelist()
    problems = [f"has no {part}" for part in PARTS if not any(n.endswith(part) for n in names)]
    problems += [f"has {name}" for name in names if any(stray in name for stray in STRAY)]
    if not problems:
        links = metadata_of(wheel).relative_links
        problems += [f"has the relative link {link} on its page" for link in links]
    if wheel.stat().st_size > LARGEST:
        problems.append(f"has {wheel.stat().st_size} bytes, more than {LARGEST}")
    if "-cp310-abi3-" not in wheel.name:
        problems.append("is not for every Python from 3.10 on")
    return problems


def pythons() -> list[Path]:
    """Returns the oldest and the newest supported Python, or the one that runs this script."""
    programs = [next(filter(works, candidates(f"python3.{minor}")), None) for minor in MINORS]
    available = [python for python in programs if python] or [Path(sys.executable)]
    return list(dict.fromkeys([available[0], available[-1]]))


def try_out(wheel: Path, python: Path) -> None:
    """Installs the wheel into its own environment, and runs the smoke test."""
    started = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="flagstaff-wheel-") as folder:
        environment = without_rust()
        subprocess.run([python, "-m", "venv", folder], env=environment, check=True)
        bare = Path(folder) / ("Scripts/python.exe" if os.name == "nt" else "bin/python")
        install: list[str | Path] = [
            bare,
            "-m",
            "pip",
            "install",
            "--quiet",
            "--disable-pip-version-check",
        ]
        # Never build from source: a wheel that does not fit is an error.
        install += ["--only-binary", ":all:", wheel, "psycopg[binary]"]
        subprocess.run(install, env=environment, check=True)
        for database in databases():
            # From a folder without importable code of this project.
            command: list[str | Path] = [bare, "-I", "-W", "error", SMOKE, json.dumps(database)]
            subprocess.run(command, cwd=folder, env=environment, timeout=120, check=True)
    print(f"  {python.name}: {time.monotonic() - started:.0f} s")


def databases() -> list[dict[str, object]]:
    """Returns SQLite, and PostgreSQL if DATABASE_URL is set."""
    aliases: list[dict[str, object]] = [
        {"ENGINE": "django.db.backends.sqlite3", "NAME": ":memory:"}
    ]
    if url := os.environ.get("DATABASE_URL"):
        # This import needs psycopg, which may be missing where a wheel is tested.
        from tools.database_url import parse_database_url  # noqa: PLC0415

        aliases.append({**parse_database_url(url), "TEST": {"NAME": "flagstaff_wheel"}})
    return aliases


def without_rust() -> dict[str, str]:
    """Returns the environment, with a PATH without Rust."""
    folders = [
        folder
        for folder in os.get_exec_path()
        if not shutil.which("cargo", path=folder) and not shutil.which("rustc", path=folder)
    ]
    return os.environ | {"PATH": os.pathsep.join(folders)}


if __name__ == "__main__":
    sys.exit(main())
