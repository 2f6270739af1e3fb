"""Print the newest Python of this machine that the newest Django runs on."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

# From what Django 6.1 asks for to the newest that we support: a later one may lack wheels.
MINORS = (14, 13, 12)


def main() -> int:
    """Print its path, or say loudly that there is none."""
    for minor in MINORS:
        for path in candidates(f"python3.{minor}"):
            if works(path):
                print(path)
                return 0
    wanted = ", ".join(f"python3.{minor}" for minor in MINORS)
    print(f"none of {wanted} is on the PATH or under pyenv", file=sys.stderr)
    return 1


def candidates(name: str) -> Iterator[Path]:
    """Every file of this name: on the PATH, then among pyenv's versions."""
    for directory in os.get_exec_path():
        yield from Path(directory).glob(name)
    root = Path(os.environ.get("PYENV_ROOT") or "~/.pyenv").expanduser()
    yield from sorted((root / "versions").glob(f"*/bin/{name}"), reverse=True)


def works(path: Path) -> bool:
    """Try it: pyenv's stand-ins fail for a version not chosen, some systems leave out venv."""
    command = [str(path), "-c", "import ensurepip, venv"]
    return subprocess.run(command, capture_output=True, check=False).returncode == 0


if __name__ == "__main__":
    sys.exit(main())
