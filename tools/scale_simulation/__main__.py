"""Prints the tables of docs/discussions/scale.md: `python -m tools.scale_simulation`.

Takes minutes. The same seed gives the same figures.
"""

from __future__ import annotations

import sys

from tools.scale_simulation.report import tables


def main() -> int:
    """Prints each table as soon as it is computed."""
    for table in tables():
        print(table, flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
