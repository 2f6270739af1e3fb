"""Prints the newest Python of this machine that the newest Django supports."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

# From the newest supported Python, for which wheels exist, to the oldest that Django 6.1 needs.
MINORS = (14, 13, 12)


def main() -> int:
    """Prints its path, or fails if there is none."""
    for minor in MINORS:
        for path in candidates(f"python3.{minor}"):
            if works(path):
                print(path)
                return 0
    wanted = ", ".join(f"python3.{minor}" for minor in MINORS)
    print(f"none of {wanted} is on the PATH or under pyenv", file=sys.stderr)
    return 1


def candidates(name: str) -> Iterator[Path]:
    """Yields every file of this name: on the PATH, then in pyenv's versions."""
    for directory in os.get_exec_path():
        yield from Path(directory).glob(name)
    root = Path(os.environ.get("PYENV_ROOT") or "~/.pyenv").expanduser()
    yield from sorted((root / "versions").glob(f"*/bin/{name}"), reverse=True)


def works(path: Path) -> bool:
    """Returns True if it runs: pyenv's shims may fail, and some systems lack venv."""
    command = [str(path), "-c", "import ensurepip, venv"]
    return subprocess.run(command, capture_output=True, check=False).returncode == 0


if __name__ == "__main__":
    sys.exit(main())
