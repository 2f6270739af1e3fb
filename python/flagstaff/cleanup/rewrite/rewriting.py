"""All files of a project → what they become, and what stays."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal, TypeAlias

from django.conf import settings
from libcst import parse_module

from flagstaff.cleanup.references.files import is_configuration, is_python, read, read_text
from flagstaff.cleanup.references.model import Kind, Reference
from flagstaff.cleanup.references.parsing import Module, problem_of
from flagstaff.cleanup.references.places import places_of
from flagstaff.cleanup.references.searching import search_files, without_garbage_collection
from flagstaff.cleanup.references.worker import Progress, Share
from flagstaff.cleanup.rewrite import reasons
from flagstaff.cleanup.rewrite.context_names import ContextNames
from flagstaff.cleanup.rewrite.keys import Keys
from flagstaff.cleanup.rewrite.made_requests import MadeRequests
from flagstaff.cleanup.rewrite.passed_requests import PassedRequests
from flagstaff.cleanup.rewrite.patches import Patches
from flagstaff.cleanup.rewrite.python_calls import Setting
from flagstaff.cleanup.rewrite.python_file import PythonFile, Result
from flagstaff.cleanup.rewrite.reasons import Left
from flagstaff.cleanup.rewrite.template_file import TemplateFile
from flagstaff.cleanup.rewrite.texts import commands_in, migrated_names

#: What the names of waffle become.
Level: TypeAlias = Literal["compat", "flagstaff"]
_MIDDLEWARE = "flagstaff.middleware.FlagstaffMiddleware"
_WORD = "waffle"


@dataclass
class Rewriting:
    """What a run does to a project."""

    #: The files that change, by path: the text before and after.
    files: dict[str, tuple[str, str]] = field(default_factory=dict)
    #: How many places or imports are rewritten.
    done: int = 0
    left: list[Left] = field(default_factory=list)
    #: Files that could not be read or rewritten, and why.
    problems: dict[str, str] = field(default_factory=dict)
    #: Names of rewritten places that migrations create by waffle's models.
    migrated: set[str] = field(default_factory=set)

    def add(self, path: str, result: Result) -> None:
        """Adds what becomes of a file."""
        self.left += result.left
        if result.new != result.old:
            self.files[path] = result.old, result.new
            self.done += result.done


def rewrite(
    files: Sequence[str], keys: Keys, level: Level, progress: Progress = lambda _count: None
) -> Rewriting:
    """Returns what becomes of these files. Reads files, and changes none."""
    found = search_files(files, progress, others=("waffle",))
    made = Rewriting(problems=dict(found.unreadable))
    with without_garbage_collection():
        run = _Run(found, keys, level, ContextNames(files))
        named = {one.path for one in found.references if one.source}
        for path in files:
            if path not in found.unreadable and (path in named or _WORD in read_text(path)):
                run.add(path, made)
    made.left.sort()
    left = {(one.path, one.line) for one in made.left}
    made.migrated &= {
        one.key
        for one in found.references
        if one.source and one.key and (one.path, one.line) not in left
    }
    return made


class _Run:
    def __init__(self, found: Share, keys: Keys, level: Level, variables: ContextNames) -> None:
        self._project = found.evaluated.project
        self._found = found
        self._level = level
        self._variables = variables
        self._patches = Patches(self._project)
        self._setting = Setting(
            keys,
            found.evaluated.evaluator,
            MadeRequests(self._project),
            PassedRequests(self._project),
            _before(_MIDDLEWARE, settings.MIDDLEWARE),
        )

    def add(self, path: str, made: Rewriting) -> None:
        """Adds what becomes of a file, or why it cannot be rewritten."""
        try:
            self._add(path, made)
        except Exception as error:  # noqa: BLE001 (one file must not end the run)
            made.problems[path] = problem_of(error)

    def _add(self, path: str, made: Rewriting) -> None:
        if is_python(path):
            module = self._project.read(path)
            if module is not None:
                made.add(path, self._python(module))
                made.migrated.update(migrated_names(module, self._setting.evaluator))
        elif is_configuration(path):
            made.left += commands_in(path, read_text(path))
        elif self._level == "flagstaff":
            source = read(path).decode()
            file = TemplateFile(
                path, source, self._setting.keys, self._found.setup, self._variables
            )
            new, done, left = file.rewritten()
            made.add(path, Result(source, new, done, left))

    def _python(self, module: Module) -> Result:
        places = list(places_of(module, self._setting.evaluator, {}))
        if read(module.path).decode().removeprefix("\ufeff") != module.tree.code:
            raise ValueError("its coding comment names another encoding")
        file = PythonFile(module, places, self._project, self._patches)
        result = file.to_compat() if self._level == "compat" else file.to_flagstaff(self._setting)
        if result.new != result.old:
            _require_valid(result.new.removeprefix("\ufeff"), result.old.removeprefix("\ufeff"))
        if self._level == "flagstaff":
            result.left += map(_in_string, filter(_is_template, self._references(module.path)))
        return result

    def _references(self, path: str) -> list[Reference]:
        return [one for one in self._found.references if one.path == path and one.source]


def _before(name: str, names: Sequence[str]) -> Sequence[str] | None:
    return names[: names.index(name)] if name in names else None


def _require_valid(new: str, old: str) -> None:
    """Raises an error for code that is not valid."""
    try:
        compile(old, "", "exec", dont_inherit=True)
    except SyntaxError:
        # Code for another version of Python.
        parse_module(new)
    else:
        compile(new, "", "exec", dont_inherit=True)


def _is_template(one: Reference) -> bool:
    return one.name.startswith("{%") or one.kind == Kind.TEMPLATE


def _in_string(one: Reference) -> Left:
    return reasons.TEMPLATE_STRING.at(one.path, one.line, one.column, one.code)
