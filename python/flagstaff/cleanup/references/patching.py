"""A unified patch of the places that can be resolved without a person."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from difflib import unified_diff
from functools import partial
from pathlib import Path
from typing import TypeAlias

from flagstaff.cleanup.references.evaluating import Evaluator
from flagstaff.cleanup.references.files import is_jinja, is_python
from flagstaff.cleanup.references.model import About, Reference
from flagstaff.cleanup.references.project import Project
from flagstaff.cleanup.references.rewriting import rewritten
from flagstaff.cleanup.references.targets import targets_in
from flagstaff.cleanup.references.template_rewriting import rewritten_template
from flagstaff.cleanup.references.worker import Share

__all__ = ["Patch", "patch"]

#: The line, the column and the key of a place.
_Done: TypeAlias = tuple[int, int, str]
#: The new text, and what is resolved in it.
_Changed: TypeAlias = tuple[str, set[_Done]]

_BYTE_ORDER_MARK = "\ufeff"
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
        return _Patching(files, found, results).patch(references)


class _Patching:
    """Makes the patch file by file."""

    def __init__(self, files: Sequence[str], found: Share, results: Mapping[str, bool]) -> None:
        self._project = Project(files)
        self._evaluator = Evaluator(self._project)
        self._wrappers = found.wrappers
        self._results = results

    def patch(self, references: Sequence[Reference]) -> Patch:
        parts: list[str] = []
        remaining: list[Reference] = []
        by_path: dict[str, list[Reference]] = {}
        for one in references:
            if one.key is None or (one.about == About.FLAG and one.key in self._results):
                by_path.setdefault(one.path, []).append(one)
        for path, of_file in by_path.items():
            # A patch cannot name a file with a line break in its name.
            old = _text(path) if path.isprintable() else None
            if old is None:
                remaining += of_file
                continue
            new, done = self._python(path, old) if is_python(path) else self._template(old, of_file)
            parts.append(_difference(path, old, new))
            remaining += [one for one in of_file if (one.line, one.column, one.key) not in done]
        return Patch("".join(parts), tuple(remaining))

    def _template(self, old: str, of_file: Sequence[Reference]) -> _Changed:
        keys = {(one.line, one.column): one.key for one in of_file if one.key is not None}
        results = {place: self._results[key] for place, key in keys.items()}
        is_of_jinja = is_jinja(of_file[0].path)
        new, places = rewritten_template(old, results, is_jinja=is_of_jinja)
        return new, {(*place, keys[place]) for place in places}

    def _python(self, path: str, old: str) -> _Changed:
        module = self._project.read(path)
        mark = _BYTE_ORDER_MARK if old.startswith(_BYTE_ORDER_MARK) else ""
        if module is None or old != mark + module.tree.code:
            # Its coding comment names another encoding.
            return old, set()
        targets = targets_in(module, self._evaluator, self._wrappers, self._results)
        new, resolved = rewritten(module.tree, targets, partial(self._project.is_imported, path))
        done: set[_Done] = set()
        for target in resolved:
            line, column = module.start(target.place.node)
            done |= {(line, column + 1, key) for key in target.keys}
        return mark + new, done


def _text(path: str) -> str | None:
    """Returns the text of a file; None if it cannot be read. A patch is UTF-8."""
    try:
        return Path(path).read_bytes().decode()
    except (OSError, UnicodeDecodeError):
        return None


def _difference(path: str, old: str, new: str) -> str:
    if old == new:
        return ""
    name = path.lstrip("/")
    # As in the patches of Git: without the tab, `patch` reads a name up to its first space.
    end = "\t" if " " in name else ""
    lines = unified_diff(_lines(old), _lines(new), f"a/{name}{end}", f"b/{name}{end}")
    return "".join(line if line.endswith("\n") else f"{line}\n{_NO_END}" for line in lines)


def _lines(text: str) -> list[str]:
    # Not splitlines, which also splits at form feeds, of which patches know nothing.
    *lines, last = text.split("\n")
    return [*(f"{line}\n" for line in lines), *([last] if last else [])]
