"""The files to search: Python and templates that may name a key."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from fnmatch import fnmatch
from os import PathLike
from pathlib import Path

_PYTHON = ".py"
_JINJA = (".jinja", ".jinja2", ".j2")
_SOURCES = (_PYTHON, *_JINJA, ".html", ".htm", ".txt", ".xml", ".svg", ".eml", ".mjml")
# Templates only in folders of templates.
_TEMPLATES = (".css", ".csv", ".ics", ".js", ".json", ".md", ".mjs", ".rst", ".tex", ".webmanifest")
_TEMPLATE_FOLDERS = frozenset({"jinja2", "templates"})
_CONFIGURATION = (".cfg", ".env", ".ini", ".service", ".sh", ".toml", ".yaml", ".yml")
_CONFIGURATION_NAMES = (".env", "Dockerfile", "Makefile", "Procfile")

_SKIPPED = frozenset(
    {
        "__pycache__",
        "__pypackages__",
        "bower_components",
        "build",
        "dist",
        "htmlcov",
        "node_modules",
        "site-packages",
        "venv",
    }
)
# A file in the root of every virtual environment.
_ENVIRONMENT = "pyvenv.cfg"
# Its workflows run commands.
_WORKFLOWS = ".github"
#: A larger file is generated or minified.
MAX_BYTES = 4_000_000


class LimitError(Exception):
    """A file is too large or has too much to be searched; says what, and the limit."""


def searched_files(paths: Iterable[str | PathLike[str]], exclude: Sequence[str] = ()) -> list[str]:
    """Returns the files at and below the paths, sorted, without those that match a glob.

    A folder that cannot be read is among them. Raises FileNotFoundError for a path that is no file
    and no folder.
    """
    found: dict[str, None] = {}
    for path in map(Path, paths):
        if path.is_dir():
            # Without the "./" of the working directory.
            below = (
                one.removeprefix(f".{os.sep}") for one in _below(str(path), str(path), exclude)
            )
            found.update(dict.fromkeys(below))
        elif path.is_file():
            found[str(path)] = None
        else:
            raise FileNotFoundError(str(path))
    return list(found)


def read(path: str) -> bytes:
    """Returns the contents of a file. Raises OSError, and LimitError for one above MAX_BYTES."""
    if Path(path).stat().st_size > MAX_BYTES:
        raise LimitError(f"it is larger than {MAX_BYTES // 1_000_000} MB")
    return Path(path).read_bytes()


def read_text(path: str) -> str:
    """Returns the text of a file for a search in it; "" if it cannot be read."""
    try:
        return read(path).decode("utf-8", "replace")
    except (LimitError, OSError):
        return ""


def has_bytes(path: str, wanted: bytes) -> bool:
    """Returns True if a file of any size has these bytes. Raises OSError."""
    with Path(path).open("rb") as file:
        before = b""
        while part := file.read(MAX_BYTES):
            if wanted in before + part:
                return True
            before = part[-len(wanted) :]
    return False


def is_python(path: str) -> bool:
    """Returns True for a Python module."""
    return path.endswith(_PYTHON)


def is_jinja(path: str) -> bool:
    """Returns True for a template of Jinja2, by its ending or its folder, as Django finds it."""
    return path.endswith(_JINJA) or "jinja2" in Path(path).parts


def is_configuration(path: str) -> bool:
    """Returns True for a file that may set environment variables."""
    name = path.rpartition(os.sep)[2]
    return name.endswith(_CONFIGURATION) or name.startswith(_CONFIGURATION_NAMES)


def _below(folder: str, root: str, exclude: Sequence[str]) -> Iterator[str]:
    try:
        with os.scandir(folder) as scanned:
            entries = sorted(scanned, key=lambda entry: entry.name)
    except OSError:
        # The search lists what it cannot read.
        yield folder
        return
    if folder != root and any(entry.name == _ENVIRONMENT for entry in entries):
        return
    for entry in entries:
        if exclude and _is_excluded(entry, root, exclude):
            continue
        if entry.is_dir(follow_symlinks=False):
            is_hidden = entry.name.startswith(".") and entry.name != _WORKFLOWS
            if entry.name not in _SKIPPED and not is_hidden:
                yield from _below(entry.path, root, exclude)
        elif _is_source(entry):
            yield entry.path


def _is_source(entry: os.DirEntry[str]) -> bool:
    if not entry.name.endswith(_SOURCES) and not is_configuration(entry.name):
        is_template = entry.name.endswith(_TEMPLATES)
        if not is_template or _TEMPLATE_FOLDERS.isdisjoint(Path(entry.path).parts):
            return False
    try:
        return entry.is_file()
    except OSError:
        # A loop of links, for example: the search lists what it cannot read.
        return True


def _is_excluded(entry: os.DirEntry[str], root: str, exclude: Sequence[str]) -> bool:
    below = entry.path[len(root) :].lstrip("/\\")
    # With the slash, "*/legacy/*" also fits a folder at the top.
    names = (below, f"/{below}", entry.name)
    return any(fnmatch(name, glob) for glob in exclude for name in names)


@dataclass(frozen=True)
class Export:
    """A name by which other modules may reach a function of ours, or one that passes on a key."""

    #: The file and the last part of the module's name.
    path: str
    module: str
    name: str


def may_use(data: bytes, path: str, exports: Iterable[Export]) -> bool:
    """Returns True if a Python file may use one of the exported names."""
    return any(
        export.name.encode() in data and (path == export.path or export.module.encode() in data)
        for export in exports
    )
