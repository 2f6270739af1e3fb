"""Runs all benchmarks one after the other, on the server of DATABASE_URL."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
BENCHES = (
    *("evaluation", "openfeature", "memory", "requests", "latency", "fan_out", "writers", "impact"),
    *("experiment_report", "admin_pages", "growing_history", "many_problems"),
)


def main() -> int:
    """Runs each in its own process; stops at the first that fails."""
    for name in BENCHES:
        print(f"\n# {name}", flush=True)
        status = subprocess.run(
            [sys.executable, "-m", f"benches.{name}"], cwd=ROOT, check=False
        ).returncode
        if status:
            return status
    return 0


if __name__ == "__main__":
    sys.exit(main())
