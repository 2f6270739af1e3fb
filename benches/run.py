"""All benchmarks, one after the other, beside the server of DATABASE_URL."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
BENCHES = ("question", "page", "latency", "impact", "allow_list")


def main() -> int:
    """Run each in a process of its own; stop at the first that fails."""
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
