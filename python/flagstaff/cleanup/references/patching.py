"""A unified patch of the places that can be resolved without a person."""

from __future__ import annotations

import os
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from difflib import unified_diff
from pathlib import Path
from typing import TypeAlias

from flagstaff.cleanup.references.files import LimitError, is_jinja, is_python, read
from flagstaff.cleanup.references.imports import Unused
from flagstaff.cleanup.references.model import About, Kind, Reference
from flagstaff.cleanup.references.naming import is_test_file
from flagstaff.cleanup.references.parsing import Module, problem_of
from flagstaff.cleanup.references.places import Place, places_of
from flagstaff.cleanup.references.rewriting import rewritten
from flagstaff.cleanup.references.searching import without_garbage_collection
from flagstaff.cleanup.references.targets import targets_in
from flagstaff.cleanup.references.template_rewriting import rewritten_template
from flagstaff.cleanup.references.worker import Evaluated, Share

#: The line, the column and the key of a place.
_Done: TypeAlias = tuple[int, int, str]
#: The new text, and what is resolved in it.
_Changed: TypeAlias = tuple[str, set[_Done]]

# What makes a test depend on the flag.
_EVALUATIONS = (
    Kind.EVALUATION,
    Kind.DECORATOR,
    Kind.MIXIN,
    Kind.PERMISSION,
    Kind.TEMPLATE,
    Kind.DYNAMIC,
)
_BYTE_ORDER_MARK = "\ufeff"
_NO_END = "\\ No newline at end of file\n"


@dataclass(frozen=True)
class Patch:
    """The patch, and the places that it does not resolve."""

    text: str
    remaining: tuple[Reference, ...]
    #: Why files could not be patched.
    problems: Mapping[str, str] = field(default_factory=dict)


def patch(found: Share, references: Sequence[Reference], results: Mapping[str, bool]) -> Patch:
    """Returns a patch with the flags of `results` resolved. Reads files, and changes none."""
    with without_garbage_collection():
        return _Patching(found.evaluated, results).patch(references)


@dataclass
class _File:
    """A file with places, its text before and after the patch, and what is resolved."""

    path: str
    references: list[Reference]
    old: str = ""
    new: str = ""
    done: set[_Done] = field(default_factory=set)

    def is_done(self, one: Reference) -> bool:
        return (one.line, one.column, one.key) in self.done

    def remaining(self) -> list[Reference]:
        return [reference for reference in self.references if not self.is_done(reference)]

    def has_overrides(self, keys: Collection[str]) -> bool:
        """Returns True if the patch removes an override of one of the keys."""
        tests = (
            reference
            for reference in self.references
            if reference.kind == Kind.TEST and reference.key in keys
        )
        return any(map(self.is_done, tests))


class _Patching:
    """Makes the patch file by file."""

    def __init__(self, evaluated: Evaluated, results: Mapping[str, bool]) -> None:
        self._evaluated = evaluated
        self._results = results
        self._problems: dict[str, str] = {}

    def patch(self, references: Sequence[Reference]) -> Patch:
        by_path: dict[str, _File] = {}
        for one in references:
            if one.key is None or (one.about == About.FLAG and one.key in self._results):
                by_path.setdefault(one.path, _File(one.path, [])).references.append(one)
        files = list(by_path.values())
        for file in files:
            self._change(file)
        self._keep_overrides(files)
        text = "".join(difference(file.path, file.old, file.new) for file in files)
        remaining = tuple(one for file in files for one in file.remaining())
        return Patch(text, remaining, self._problems)

    def _keep_overrides(self, files: Sequence[_File]) -> None:
        """Changes files again whose overrides other code still needs, since it evaluates the key.

        What a test evaluates itself matters in its own file only.
        """
        everywhere: set[str] = set()
        of_file: dict[str, set[str]] = {}
        for file in files:
            left = {
                key
                for one in file.remaining()
                if one.kind in _EVALUATIONS
                for key in ((one.key,) if one.key is not None else one.candidates)
            }
            of_file[file.path] = left
            if not is_test_file(file.path):
                everywhere |= left
        for file in files:
            keys = everywhere | of_file[file.path]
            if file.has_overrides(keys):
                self._change(file, keys)

    def _change(self, file: _File, overridden: Collection[str] = ()) -> None:
        # A patch cannot name a file with a line break in its name.
        text = _text(file.path) if file.path.isprintable() else None
        if text is None:
            return
        file.old = file.new = text
        file.done = set()
        try:
            file.new, file.done = (
                self._python(file, text, overridden)
                if is_python(file.path)
                else self._template(text, file.references)
            )
        except Exception as error:  # noqa: BLE001 (one file must not end the patch of the others)
            self._problems[file.path] = problem_of(error)

    def _template(self, old: str, of_file: Sequence[Reference]) -> _Changed:
        keys = {(one.line, one.column): one.key for one in of_file if one.key is not None}
        results = {place: self._results[key] for place, key in keys.items()}
        is_of_jinja = is_jinja(of_file[0].path)
        new, places = rewritten_template(old, results, is_jinja=is_of_jinja)
        return new, {(*place, keys[place]) for place in places}

    def _python(self, file: _File, old: str, overridden: Collection[str]) -> _Changed:
        if all(reference.key is None for reference in file.references):
            return old, set()
        module, places = self._module(file.path)
        mark = _BYTE_ORDER_MARK if old.startswith(_BYTE_ORDER_MARK) else ""
        if module is None or old != mark + module.tree.code:
            # Its coding comment names another encoding.
            return old, set()
        evaluator = self._evaluated.evaluator
        targets = targets_in(module, places, evaluator, self._results, overridden)
        unused = Unused(self._evaluated.project, file.path)
        new, resolved = rewritten(module.tree, targets, unused)
        done: set[_Done] = set()
        for target in resolved:
            line, column = module.start(target.place.node)
            done |= {(line, column + 1, key) for key in target.keys}
        return mark + new, done

    def _module(self, path: str) -> tuple[Module | None, list[Place]]:
        """Returns a module and its places, without the calls of wrappers."""
        if path in self._evaluated.modules:
            return self._evaluated.modules[path]
        # The other process has searched it, or the search did not know the keys.
        module = self._evaluated.project.read(path)
        return module, [*places_of(module, self._evaluated.evaluator, {})] if module else []


def _text(path: str) -> str | None:
    """Returns the text of a file; None if it cannot be read. A patch is UTF-8."""
    try:
        return read(path).decode()
    except (OSError, LimitError, UnicodeDecodeError):
        return None


def difference(path: str, old: str, new: str) -> str:
    """Returns the unified difference of a file, as git writes it."""
    if old == new:
        return ""
    name = os.path.relpath(path, patch_folder(path))
    # As in the patches of Git: without the tab, `patch` reads a name up to its first space.
    end = "\t" if " " in name else ""
    lines = unified_diff(_lines(old), _lines(new), f"a/{name}{end}", f"b/{name}{end}")
    return "".join(line if line.endswith("\n") else f"{line}\n{_NO_END}" for line in lines)


def patch_folder(path: str) -> Path:
    """Returns the folder in which a patch of a file applies.

    It is the working directory for a relative path, else the root of the repository.
    """
    here = Path.cwd()
    if not Path(path).is_absolute() and Path(path).parts[0] != "..":
        return here
    around = Path(os.path.abspath(path)).parents  # noqa: PTH100 (links stay)
    default = here if here in around else Path("/")
    return next((one for one in around if (one / ".git").exists()), default)


def _lines(text: str) -> list[str]:
    # Not splitlines, which also splits at form feeds, of which patches know nothing.
    *lines, last = text.split("\n")
    return [*(f"{line}\n" for line in lines), *([last] if last else [])]
