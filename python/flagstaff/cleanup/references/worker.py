"""One process's share of the files, and the three passes over it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from flagstaff.cleanup.references.evaluating import Evaluator
from flagstaff.cleanup.references.files import is_configuration, is_python
from flagstaff.cleanup.references.forced_off import forced_off
from flagstaff.cleanup.references.functions import Function
from flagstaff.cleanup.references.model import Reference
from flagstaff.cleanup.references.parsing import reason_of
from flagstaff.cleanup.references.places import WrapperId, Wrappers
from flagstaff.cleanup.references.prefilter import (
    Export,
    may_have_keys,
    may_use,
    template_may_have_keys,
)
from flagstaff.cleanup.references.project import Project
from flagstaff.cleanup.references.python_file import InModule, exports_of, in_module
from flagstaff.cleanup.references.templates import Setup, in_template, setup_in

__all__ = ["Progress", "Share", "Worker"]

#: Called with the number of files that are done since the last call.
Progress = Callable[[int], None]

_STEP = 100


@dataclass
class Share:
    """What one pass over some of the files has found."""

    references: list[Reference] = field(default_factory=list)
    wrappers: dict[WrapperId, tuple[Function, ...]] = field(default_factory=dict)
    exports: set[Export] = field(default_factory=set)
    setup: Setup = field(default_factory=Setup)
    #: Files that are not valid Python, or that cannot be read, and why.
    unreadable: dict[str, str] = field(default_factory=dict)

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


class Worker:
    """Searches a share of the files, in three passes.

    The first pass finds the calls of flagstaff, and the functions of the project that pass on a
    key. The second one finds the calls of these functions, and reads the templates. The third one
    finds the calls of functions that pass on a key to one of these functions.
    """

    def __init__(self, files: Sequence[str], share: Sequence[str]) -> None:
        self._project = Project(files)
        self._evaluator = Evaluator(self._project)
        self._share = share
        self._searched: set[str] = set()

    def first(self, progress: Progress) -> Share:
        """Searches the Python files that name flagstaff."""
        found = Share()
        for path, data in self._files(found, progress, python=True):
            if may_have_keys(data):
                self._searched.add(path)
                found.setup |= setup_in(data)
                self._search(path, found, {})
        return found

    def second(self, known: Share, progress: Progress) -> Share:
        """Searches the calls of wrappers, and the templates."""
        found = Share()
        for path, data in self._files(found, progress, python=False):
            found.references += forced_off(path, data)
            if not is_python(path):
                if not is_configuration(path) and template_may_have_keys(data):
                    found.references += in_template(path, data, known.setup)
            elif may_use(data, path, known.exports):
                self._search(path, found, known.wrappers, again=path in self._searched)
        return found

    def third(self, wrappers: Wrappers) -> Share:
        """Searches the calls of functions that call one of the functions of the second pass."""
        found = Share()
        exports = exports_of(wrappers)
        for path, data in self._files(found, _no_progress, python=True) if exports else ():
            if may_use(data, path, exports):
                self._search(path, found, wrappers, again=True)
        return found

    def _search(
        self,
        path: str,
        found: Share,
        wrappers: Wrappers,
        *,
        again: bool = False,
    ) -> None:
        module = self._project.read(path)
        if module is not None:
            found.add(in_module(module, self._evaluator, wrappers, only_wrappers=again))
        else:
            found.unreadable[path] = self._project.problems[path]

    def _files(
        self, found: Share, progress: Progress, *, python: bool
    ) -> Iterator[tuple[str, bytes]]:
        done = 0
        for path in self._share:
            done += 1
            if done == _STEP:
                progress(done)
                done = 0
            if python and not is_python(path):
                continue
            try:
                yield path, Path(path).read_bytes()
            except OSError as error:
                found.unreadable[path] = reason_of(error)
        progress(done)


def _no_progress(_count: int) -> None:
    pass
