"""Measures the search: `python -m tools.reference_accuracy DIR...`.

Each DIR has a code base that uses django-waffle. Copies it to a temporary folder, plants files with
references and with text that only looks like one, and compares what the search finds, also of
django-waffle, with what is there. Then rewrites the copy as `flags rewrite waffle` does, applies
the patch of each key, with both results, and checks that the files compile, and that planted
functions return the same. Exits with 1 if a figure is below its bound or a patch is wrong.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path

from tools.reference_accuracy.behaviour import changed_behaviour
from tools.reference_accuracy.comparing import Comparison, compared
from tools.reference_accuracy.copying import copied, places_in, rewrite_copy
from tools.reference_accuracy.patches import Patched, patched
from tools.reference_accuracy.planting import FOLDER, plant
from tools.reference_accuracy.report import details, patch_summary, summary
from tools.reference_accuracy.searching import finds_in

LEAST_PRECISION, LEAST_RECALL = 0.95, 0.9


def main() -> int:
    """Measures each code base, prints the figures, and returns the exit status."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folders", metavar="DIR", nargs="+", type=Path)
    options = parser.parse_args()
    existing, planted, patches = Comparison(), Comparison(), Patched()
    for folder in options.folders:
        with tempfile.TemporaryDirectory() as temporary:
            target = Path(temporary).resolve() / folder.name
            real, ours = measured(folder, target)
            left = rewrite_copy(target, [f"*/{FOLDER}/*"])
            print(f"{folder.name:28} left by the rewriting: {left}")
            # The planted files are the same in each code base.
            done = patched(target, [f"*/{FOLDER}/*"] if planted.right else [])
            if not planted.right:
                done.problems += changed_behaviour(target)
        print(patch_summary(folder.name, done))
        patches += done
        existing += real
        planted = planted if planted.right else ours
    print(summary("all code bases", existing))
    print(summary("planted files", planted))
    every = existing + planted
    print(summary("all", every))
    print(patch_summary("all", patches))
    is_exact = every.precision >= LEAST_PRECISION and every.recall >= LEAST_RECALL
    return 0 if is_exact and not patches.problems else 1


def measured(folder: Path, target: Path) -> tuple[Comparison, Comparison]:
    """Returns the comparison of the code base, and that of the planted files."""
    copied(folder, target)
    places, unparsed = places_in(target)
    planted = plant(target)
    finds, seconds = finds_in(target)
    apart = f"{FOLDER}/"
    real = compared(places, [find for find in finds if not find.path.startswith(apart)])
    ours = compared(planted, [find for find in finds if find.path.startswith(apart)])
    print(summary(folder.name, real) + f"   {seconds:.1f} s")
    for path in unparsed:
        print(f"  left out, this Python cannot parse it: {path}")
    print("\n".join(details(real)))
    print(summary(f"planted in {folder.name}", ours))
    print("\n".join(details(ours)))
    return real, ours


if __name__ == "__main__":
    sys.exit(main())
