"""The figures as text."""

from __future__ import annotations

from collections.abc import Iterator

from tools.reference_accuracy.comparing import Comparison
from tools.reference_accuracy.patches import Patched

__all__ = ["details", "patch_summary", "summary"]


def summary(name: str, result: Comparison) -> str:
    """Returns precision and recall in one line."""
    places = len(result.right) + len(result.missed)
    return (
        f"{name:28} places {places:4}   precision {result.precision:.3f}   "
        f"recall {result.recall:.3f}   missed {len(result.missed)}   wrong {len(result.wrong)}   "
        f"of another kind {len(result.other_kinds)}"
    )


def details(result: Comparison) -> Iterator[str]:
    """Yields the figures of each kind, each miss, each wrong find, and each wrong kind."""
    for kind, (right, missed, wrong) in result.by_kind().items():
        yield f"    {kind:12} right {right:4}   missed {missed:3}   wrong {wrong:3}"
    for place in result.missed:
        yield f"  MISSED {place.path}:{place.line} {place.kind} {_key(place.key)}"
    for find in result.wrong:
        yield f"  WRONG  {find.path}:{find.line} {find.kind} {_key(find.key)}   {find.code}"
    for place, find in result.other_kinds:
        yield f"  KIND   {place.path}:{place.line} {place.kind}, found as {find.kind}"


def patch_summary(name: str, done: Patched) -> str:
    """Returns what the patches did, and each problem in a line of its own."""
    resolved = 1 - done.remaining / done.places if done.places else 1.0
    line = (
        f"{name:28} patches {done.patches}   files {done.files}   "
        f"places resolved {resolved:.0%} of {done.places}   problems {len(done.problems)}"
    )
    return "\n".join([line, *(f"  PATCH  {problem}" for problem in done.problems)])


def _key(key: str | None) -> str:
    return "(at run time)" if key is None else key
