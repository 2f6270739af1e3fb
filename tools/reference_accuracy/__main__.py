"""Measures the search: `python -m tools.reference_accuracy DIR...`.

Each DIR has a code base that uses django-waffle. Copies it to a temporary folder, rewrites the copy
to flagstaff, plants files with references and with text that only looks like one, and compares what
the search finds with what is there. Exits with 1 if precision or recall is below its bound.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path

from tools.reference_accuracy.comparing import Comparison, compared
from tools.reference_accuracy.planting import FOLDER, plant
from tools.reference_accuracy.report import details, summary
from tools.reference_accuracy.rewrite_all import rewritten_copy
from tools.reference_accuracy.searching import finds_in

LEAST_PRECISION, LEAST_RECALL = 0.95, 0.9


def main() -> int:
    """Measures each code base, prints the figures, and returns the exit status."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folders", metavar="DIR", nargs="+", type=Path)
    options = parser.parse_args()
    rewritten, planted = Comparison(), Comparison()
    for folder in options.folders:
        with tempfile.TemporaryDirectory() as temporary:
            real, ours = measured(folder, Path(temporary).resolve() / folder.name)
        rewritten += real
        planted = planted if planted.right else ours
    print(summary("all code bases, rewritten", rewritten))
    print(summary("planted files", planted))
    every = rewritten + planted
    print(summary("all", every))
    return 0 if every.precision >= LEAST_PRECISION and every.recall >= LEAST_RECALL else 1


def measured(folder: Path, target: Path) -> tuple[Comparison, Comparison]:
    """Returns the comparison of the rewritten code, and that of the planted files."""
    copy = rewritten_copy(folder, target)
    planted = plant(target)
    finds, seconds = finds_in(target)
    apart = f"{FOLDER}/"
    real = compared(copy.places, [find for find in finds if not find.path.startswith(apart)])
    ours = compared(planted, [find for find in finds if find.path.startswith(apart)])
    print(summary(folder.name, real) + f"   {seconds:.1f} s")
    for path in copy.unparsed:
        print(f"  not rewritten, this Python cannot parse it: {path}")
    print("\n".join(details(real)))
    print(summary(f"planted in {folder.name}", ours))
    print("\n".join(details(ours)))
    return real, ours


if __name__ == "__main__":
    sys.exit(main())
