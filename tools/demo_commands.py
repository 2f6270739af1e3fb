"""What the demos print, and the commands that they run in the example shop."""

from __future__ import annotations

import shlex
import subprocess
import sys
import time

from tools.demo import EXAMPLE

__all__ = ["flags", "run", "say"]


def flags(arguments: str, environment: dict[str, str]) -> str:
    """Runs `manage.py flags`, prints the command, and returns its output."""
    return run(f"flags {arguments}", environment)


def run(arguments: str, environment: dict[str, str]) -> str:
    """Runs `manage.py`, prints the command, and returns its output. Exits if it fails."""
    command = [sys.executable, "manage.py", *shlex.split(arguments)]
    done = subprocess.run(
        command, cwd=EXAMPLE, env=environment, capture_output=True, text=True, check=False
    )
    if done.returncode != 0:
        sys.exit(f"`manage.py {arguments}` failed: {done.stderr}")
    say(f"$ manage.py {arguments}")
    return done.stdout


def say(text: str) -> None:
    """Prints a line with the time."""
    print(f"  {time.strftime('%H:%M:%S')}  {text}", flush=True)
