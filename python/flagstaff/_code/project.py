"""Which keys the project's code uses, and which of them neither code nor the database has."""

from __future__ import annotations

import os
import sys
import sysconfig
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from django.apps import apps
from django.conf import settings
from django.template import engines

from flagstaff._code.files import FLAG, VALUE, Use, project_files, text_or_nothing
from flagstaff._code.python import PythonReader
from flagstaff._code.text import TemplateNames, template_uses, text_uses
from flagstaff._declared import DECLARED, Flag
from flagstaff._tables.rows import all_rows
from flagstaff._text import most_similar
from flagstaff.conf import conf
from flagstaff.extensions import KEYS

_EXTENSION = "flagstaff.contrib.jinja2.FlagstaffExtension"
_TAGS = "flagstaff.templatetags.flagstaff"
_PROCESSOR = "flagstaff.context_processors.flags"
# What Django and Jinja2 call folders of templates.
_TEMPLATE_FOLDERS = (f"{os.sep}templates{os.sep}", f"{os.sep}jinja2{os.sep}")
_FOREIGN = ("site-packages", "dist-packages")
_STDLIB = Path(sysconfig.get_path("stdlib")).resolve()


# What has a key.


def declared_keys() -> dict[str, set[str]]:
    """Returns the keys that code declares, by kind."""
    kinds: dict[str, set[str]] = {FLAG: set(), VALUE: set()}
    for key, declared in DECLARED.items():
        kinds[FLAG if isinstance(declared, Flag) else VALUE].add(key)
    return kinds


def stored_keys() -> dict[str, set[str]]:
    """Returns the keys of all rows, by kind. Two queries, and those of the apps."""
    kinds = {kind: set(keys) for read in KEYS for kind, keys in read().items()}
    for kind, model in ((VALUE, conf.value_model), (FLAG, conf.flag_model)):
        kinds[kind] = {*all_rows(model).values_list("key", flat=True)}
    return kinds


def all_keys(stored: Mapping[str, set[str]]) -> dict[str, set[str]]:
    """Returns the keys that code declares and those of rows, by kind."""
    declared = declared_keys()
    return {
        kind: {*declared.get(kind, ()), *stored.get(kind, ())} for kind in {**stored, **declared}
    }


@dataclass(frozen=True)
class KnownKeys:
    """The keys that code may use."""

    by_kind: Mapping[str, Collection[str]]
    allowed: Collection[str] = ()

    def problem(self, use: Use) -> str:
        """Returns why a use is wrong, or an empty text."""
        if use.missing_in:
            if _is_bound(use.missing_in, use.key):
                return ""
            return f"{shown(use.missing_in)} has no {use.key}{_guess(use.key, use.names)}"
        return self.problem_of_key(use.key, use.kind)

    def problem_of_key(self, key: str, kind: str) -> str:
        """Returns why code cannot use a key as that of a flag, a value or an experiment."""
        kinds = [kind] if kind else [*self.by_kind]
        # The keys of experiments are in the database alone.
        if key in self.allowed or not {*kinds} <= {*self.by_kind}:
            return ""
        keys = [known for known_kind in kinds for known in self.by_kind[known_kind]]
        if key in keys:
            return ""
        for other, others in self.by_kind.items():
            if key in others:
                return f'"{key}" is the key of a {other}, not of a {kind}'
        return f'no {kind or FLAG} has the key "{key}"{_guess(key, keys)}'


def _is_bound(file: str, name: str) -> bool:
    """Whether a module of declarations, once imported, has a name that its text does not show."""
    path = os.path.realpath(file)
    places = {declared.place.module: declared.place.file for declared in DECLARED.values()}
    return any(
        hasattr(sys.modules.get(module), name)
        for module, other in places.items()
        if os.path.realpath(other) == path
    )


def _guess(key: str, keys: Iterable[str]) -> str:
    similar = most_similar(key, keys)
    return f'; did you mean "{similar}"?' if similar else ""


# The files.


def project_uses() -> Iterator[Use]:
    """Yields the uses of keys in the Python files and the templates of the project.

    Its folders are BASE_DIR and those of the installed apps, but not those of installed packages.
    """
    reader, names = _python_reader(), _template_names()
    template_folders = (*_template_folders(),)
    for path in project_files(_own_folders(), _served_folders()):
        if path.endswith(".py"):
            yield from reader.uses(path, text_or_nothing(path))
        elif path.startswith(template_folders) or any(part in path for part in _TEMPLATE_FOLDERS):
            yield from template_uses(path, text_or_nothing(path), names)


def uses_in(paths: Iterable[str]) -> Iterator[Use]:
    """Yields the uses of keys in text files of any language."""
    reader, names = _python_reader(), _template_names()
    for path in paths:
        text = text_or_nothing(path)
        if path.endswith(".py"):
            yield from reader.uses(path, text)
        else:
            yield from template_uses(path, text, names)
            yield from text_uses(path, text)


def shown(path: str) -> str:
    """Returns the path of a file as seen from here, if it is below."""
    here = f"{Path.cwd()}{os.sep}"
    return path.removeprefix(here)


def is_test(use: Use) -> bool:
    """Whether a use is an override, or in a file of tests."""
    *folders, name = Path(shown(use.path)).parts
    is_file = name.startswith(("test_", "tests.", "conftest.")) or name.endswith("_test.py")
    return use.is_override or is_file or not {"test", "tests"}.isdisjoint(folders)


def _python_reader() -> PythonReader:
    return PythonReader([*filter(_is_own, map(Path, sys.path)), *_base_dir()])


def _own_folders() -> Iterator[Path]:
    yield from _base_dir()
    for app in apps.get_app_configs():
        if not app.name.startswith("flagstaff.") and app.name != "flagstaff":
            yield from filter(_is_own, [Path(app.path)])


def _base_dir() -> list[Path]:
    folder: Any = getattr(settings, "BASE_DIR", None)
    return [Path(folder)] if folder else []


def _is_own(folder: Path) -> bool:
    resolved = folder.resolve()
    is_foreign = not {*_FOREIGN}.isdisjoint(resolved.parts) or resolved.is_relative_to(_STDLIB)
    return folder.is_dir() and not is_foreign


def _served_folders() -> list[Path]:
    """Returns the folders of collected files and of uploads, which can be many."""
    roots: list[Any] = [settings.STATIC_ROOT, settings.MEDIA_ROOT]
    return [Path(root) for root in roots if root]


def _template_folders() -> Iterator[str]:
    """Yields what the paths of the templates in the settings begin with."""
    for engine in settings.TEMPLATES:
        folders: Any = engine.get("DIRS", ())
        yield from (f"{Path(folder).resolve()}{os.sep}" for folder in folders)


def _template_names() -> TemplateNames:
    has_builtin_tags = has_variable = False
    jinja_folders: list[Path] = []
    for engine in engines.all():
        django, jinja = getattr(engine, "engine", None), getattr(engine, "env", None)
        has_builtin_tags |= _TAGS in getattr(django, "builtins", ())
        processors = getattr(django or engine, "context_processors", ())
        has_variable |= _PROCESSOR in processors
        if _EXTENSION in getattr(jinja, "extensions", ()):
            jinja_folders += [Path(folder).resolve() for folder in engine.template_dirs]
    return TemplateNames(has_builtin_tags, has_variable, tuple(jinja_folders))
