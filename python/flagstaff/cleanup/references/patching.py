"""A unified patch of the places that can be resolved without a person."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from difflib import unified_diff

import libcst as cst

from flagstaff.cleanup.references.evaluating import Evaluator
from flagstaff.cleanup.references.files import is_python
from flagstaff.cleanup.references.model import About, Reference
from flagstaff.cleanup.references.parsing import Module
from flagstaff.cleanup.references.places import Place, places_of
from flagstaff.cleanup.references.project import Project
from flagstaff.cleanup.references.python_file import key_of
from flagstaff.cleanup.references.rewriting import rewritten
from flagstaff.cleanup.references.template_rewriting import rewritten_template
from flagstaff.cleanup.references.worker import Share

__all__ = ["Patch", "patch"]

_NO_END = "\\ No newline at end of file\n"


@dataclass(frozen=True)
class Patch:
    """The patch, and the places that it does not resolve."""

    text: str
    remaining: tuple[Reference, ...]


def patch(
    files: Sequence[str],
    found: Share,
    references: Sequence[Reference],
    results: Mapping[str, bool],
) -> Patch:
    """Returns a patch with the flags of `results` resolved. Reads files, and changes none."""
    with warnings.catch_warnings():
        # Of odd strings in the code that is read.
        warnings.simplefilter("ignore")
        return _patch(files, found, references, results)


def _patch(
    files: Sequence[str],
    found: Share,
    references: Sequence[Reference],
    results: Mapping[str, bool],
) -> Patch:
    project = Project(files)
    evaluator = Evaluator(project)
    parts: list[str] = []
    remaining: list[Reference] = []
    by_path: dict[str, list[Reference]] = {}
    for one in references:
        if one.key is None or (one.about == About.FLAG and one.key in results):
            by_path.setdefault(one.path, []).append(one)
    for path, of_file in by_path.items():
        if is_python(path):
            module = project.read(path)
            changed = _python(module, evaluator, found, results) if module else None
        else:
            changed = rewritten_template(path, results)
        if changed is None:
            remaining += of_file
            continue
        old, new, done = changed
        parts.append(_difference(path, old, new))
        remaining += [one for one in of_file if (one.line, one.column) not in done]
    return Patch("".join(parts), tuple(remaining))


def _python(
    module: Module, evaluator: Evaluator, found: Share, results: Mapping[str, bool]
) -> tuple[str, str, set[tuple[int, int]]]:
    places: dict[cst.CSTNode, tuple[Place, bool]] = {}
    for place in places_of(module, evaluator, found.wrappers):
        keys = {key_of(value) for value in evaluator.evaluate(place.key, place.scope)}
        of_keys = {results.get(key) if key is not None else None for key in keys}
        result = of_keys.pop() if len(of_keys) == 1 else None
        if result is not None and place.about == About.FLAG:
            places[place.node] = (place, result)
    new, nodes = rewritten(module.tree, places)
    starts = (module.start(node) for node in nodes)
    return module.tree.code, new, {(line, column + 1) for line, column in starts}


def _difference(path: str, old: str, new: str) -> str:
    if old == new:
        return ""
    lines = unified_diff(
        old.splitlines(keepends=True),
        new.splitlines(keepends=True),
        f"a/{path.lstrip('/')}",
        f"b/{path.lstrip('/')}",
    )
    return "".join(line if line.endswith("\n") else f"{line}\n{_NO_END}" for line in lines)
