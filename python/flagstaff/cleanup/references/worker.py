"""One process's share of the files, and the three passes over it."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass, field

from flagstaff.cleanup.references.evaluating import ExpressionEvaluator
from flagstaff.cleanup.references.files import (
    Export,
    LimitError,
    has_bytes,
    is_configuration,
    is_python,
    may_use,
    read,
)
from flagstaff.cleanup.references.functions import Function
from flagstaff.cleanup.references.model import Kind, Reference
from flagstaff.cleanup.references.parsing import Module, problem_of
from flagstaff.cleanup.references.places import Place, WrapperId, Wrappers
from flagstaff.cleanup.references.project import Project
from flagstaff.cleanup.references.python_file import InModule, exports_of, in_module
from flagstaff.cleanup.references.templates import Setup, in_template, setup_in
from flagstaff.cleanup.references.vocabularies import vocabulary_of

#: Called with the number of files that are done since the last call.
Progress = Callable[[int], None]

_STEP = 100


@dataclass
class Evaluated:
    """What a patch takes from the search: what it has read, and the places that it has found."""

    project: Project
    evaluator: ExpressionEvaluator
    #: The modules that name a key of the patch, with their places, by path.
    modules: dict[str, tuple[Module, list[Place]]] = field(default_factory=dict)


@dataclass
class Share:
    """What one pass over some of the files has found."""

    references: list[Reference] = field(default_factory=list)
    wrappers: dict[WrapperId, tuple[Function, ...]] = field(default_factory=dict)
    exports: set[Export] = field(default_factory=set)
    setup: Setup = field(default_factory=Setup)
    #: Files that are not valid Python, or that cannot be read, and why.
    unreadable: dict[str, str] = field(default_factory=dict)
    #: What a patch needs. Set at the end of a search, and only in this process.
    evaluated: Evaluated = field(init=False, repr=False, compare=False)

    def add(self, other: Share | InModule) -> None:
        """Adds what another pass has found."""
        self.references += other.references
        self.exports |= other.exports
        for key, functions in other.wrappers.items():
            self.wrappers[key] = tuple(dict.fromkeys((*self.wrappers.get(key, ()), *functions)))
        if isinstance(other, Share):
            self.setup |= other.setup
            self.unreadable |= other.unreadable

    def added_by(self, other: Share) -> Wrappers:
        """Returns the functions of another pass that this one has not."""
        return {key: new for key, new in other.wrappers.items() if new != self.wrappers.get(key)}


class SearchWorker:
    """Searches a share of the files, in three passes.

    The first pass finds the calls of flagstaff, and the functions of the project that pass on a
    key. The second one finds the calls of these functions, and reads the templates. The third one
    finds the calls of functions that pass on a key to one of these functions.
    """

    def __init__(
        self,
        files: Sequence[str],
        share: Sequence[str],
        patched: Collection[str] = (),
        others: tuple[str, ...] = (),
    ) -> None:
        self._vocabulary = vocabulary_of(others)
        self._project = Project(files, self._vocabulary)
        self._evaluator = ExpressionEvaluator(self._project)
        self.evaluated = Evaluated(self._project, self._evaluator)
        self._share = share
        self._patched = frozenset(patched)
        self._searched: set[str] = set()

    def first(self, progress: Progress) -> Share:
        """Searches the Python files that name flagstaff."""

        def search(path: str, data: bytes, found: Share) -> None:
            if self._vocabulary.may_have_keys(data):
                self._searched.add(path)
                found.setup |= setup_in(data)
                self._search(path, found, {})

        return self._each(search, progress, python=True)

    def second(self, known: Share, progress: Progress) -> Share:
        """Searches the calls of wrappers, and the templates."""

        def search(path: str, data: bytes, found: Share) -> None:
            found.references += forced_off(path, data)
            if not is_python(path):
                may_have_keys = self._vocabulary.template_may_have_keys(data)
                if may_have_keys and not is_configuration(path):
                    found.references += in_template(path, data, known.setup, self._vocabulary)
            elif may_use(data, path, known.exports):
                self._search(path, found, known.wrappers, again=path in self._searched)

        return self._each(search, progress, python=False)

    def third(self, wrappers: Wrappers) -> Share:
        """Searches the calls of functions that call one of the functions of the second pass."""
        exports = exports_of(wrappers)

        def search(path: str, data: bytes, found: Share) -> None:
            if may_use(data, path, exports):
                self._search(path, found, wrappers, again=True)

        return self._each(search, _no_progress, python=True) if exports else Share()

    def _each(
        self, search: Callable[[str, bytes, Share], None], progress: Progress, *, python: bool
    ) -> Share:
        """Searches each file. One that fails is listed, and ends nothing."""
        found = Share()
        for path in self._paths(progress, python=python):
            of_file = Share()
            try:
                search(path, read(path), of_file)
            except LimitError as error:
                if self._may_have_keys(path):
                    found.unreadable[path] = problem_of(error)
            except Exception as error:  # noqa: BLE001 (whatever is in the file)
                found.unreadable[path] = problem_of(error)
            else:
                found.add(of_file)
        return found

    def _may_have_keys(self, path: str) -> bool:
        """Whether a file of any size, which is not searched, may name a key.

        An unreadable one may.
        """
        words = (b"flag", b"FLAGSTAFF", b"variant", b"get_value", b"{% value")
        try:
            return any(has_bytes(path, word) for word in (*words, *self._vocabulary.texts))
        except OSError:
            return True

    def _search(
        self,
        path: str,
        found: Share,
        wrappers: Wrappers,
        *,
        again: bool = False,
    ) -> None:
        module = self._project.read(path)
        if module is None:
            found.unreadable[path] = self._project.problems[path]
            return
        of_module = in_module(module, self._evaluator, wrappers, only_wrappers=again)
        found.add(of_module)
        # Other trees are not kept: they take much memory.
        if not again and any(reference.key in self._patched for reference in of_module.references):
            self.evaluated.modules[path] = module, of_module.places

    def _paths(self, progress: Progress, *, python: bool) -> Iterator[str]:
        done = 0
        for path in self._share:
            done += 1
            if done == _STEP:
                progress(done)
                done = 0
            if is_python(path) or not python:
                yield path
        progress(done)


def _no_progress(_count: int) -> None:
    pass


_NAME = b"FLAGSTAFF_FORCE_OFF"
# NAME=a,b of a shell; NAME: "a,b" of YAML; environ["NAME"] = "a,b"; setenv("NAME", "a,b").
_SET = re.compile(
    r"FLAGSTAFF_FORCE_OFF[\"'\]]*\s*[:=,]\s*(?:\"([^\"\n]*)\"|'([^'\n]*)'|([\w.,-]+))"
)


def forced_off(path: str, data: bytes) -> list[Reference]:
    """Returns the keys that a file sets, each at its place in the list."""
    if _NAME not in data:
        return []
    found: list[Reference] = []
    for number, line in enumerate(data.decode("utf-8", "replace").split("\n"), start=1):
        for match in _SET.finditer(line):
            group = next(index for index in (1, 2, 3) if match[index] is not None)
            for key in re.finditer(r"[^,\s]+", match[group]):
                column = match.start(group) + key.start() + 1
                code = line.strip()
                name = _NAME.decode()
                found.append(Reference(path, number, column, Kind.SETTING, key[0], code, name=name))
    return found
