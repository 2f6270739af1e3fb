"""The modules of the searched files, each parsed when it is first needed."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator, Sequence
from functools import cache
from pathlib import Path

from flagstaff.cleanup.references.files import LimitError, has_bytes, is_python, read, read_text
from flagstaff.cleanup.references.naming import absolute_name, is_named
from flagstaff.cleanup.references.parsing import Module, UnreadableError, parse
from flagstaff.cleanup.references.vocabularies import Vocabulary, vocabulary_of

# The sum of the files whose trees are kept: a tree takes some 60 times the memory of its file. One
# that is parsed again takes more than one that is kept, because what is known of the first stays.
_MAX_KEPT_BYTES = 4_000_000


class Project:
    """Finds a module by its dotted name."""

    def __init__(self, files: Sequence[str], vocabulary: Vocabulary | None = None) -> None:
        self.vocabulary = vocabulary or vocabulary_of()
        self._names: dict[str, str] = {}
        self._packages: set[str] = set()
        self._by_tail: dict[str, list[str]] = {}
        self._modules: dict[str, Module | None] = {}
        self._kept_bytes = 0
        self._mentioning: dict[str, list[str]] = {}
        self._found: dict[str, str | None] = {}
        self._imported = cache(_imports_in)
        #: Why files cannot be parsed.
        self.problems: dict[str, str] = {}
        for path in filter(is_python, files):
            name = module_name(path)
            self._names[name] = path
            if Path(path).name == "__init__.py":
                self._packages.add(name)
            self._by_tail.setdefault(name.rpartition(".")[2], []).append(name)

    def find(self, name: str) -> Module | None:
        """Returns the module with a dotted name, as imports write it; None if there is none."""
        path = self.path_of(name)
        return None if path is None else self.read(path)

    def path_of(self, name: str) -> str | None:
        """Returns the file of the module with a dotted name; None if there is none."""
        if name not in self._found:
            self._found[name] = self._path_of(name)
        return self._found[name]

    def settings_with(self, name: str) -> Iterator[Module]:
        """Yields the settings modules of the project whose text has a name."""
        for module, path in self._names.items():
            *packages, last = module.split(".")
            is_settings = last.startswith("settings") or "settings" in packages[-1:]
            if is_settings and _mentions(path, name):
                found = self.read(path)
                if found is not None:
                    yield found

    def mentioning(self, name: str) -> Iterator[Module]:
        """Yields the modules whose text has a name."""
        for path in self.paths_mentioning(name):
            found = self.read(path)
            if found is not None:
                yield found

    def paths_mentioning(self, name: str) -> Iterator[str]:
        """Yields the Python files whose text has a name."""
        if name not in self._mentioning:
            self._mentioning[name] = [one for one in self._names.values() if _mentions(one, name)]
        return iter(self._mentioning[name])

    def is_imported(self, path: str, name: str) -> bool:
        """Returns True if another file may take a name from the module of this file."""
        module = module_name(path)
        wanted = re.compile(rf"\b{re.escape(name)}\b|\*")
        for other in self.paths_mentioning(name):
            if other == path:
                continue
            try:
                text = read(other).decode("utf-8", "replace")
            except LimitError:
                return True
            imported = self._imported(other)
            if any(is_named(module, one) and wanted.search(names) for one, names in imported):
                return True
            if _reads_attribute(text, module, name, imported):
                return True
        return False

    def may_bind(self, star: str, name: str) -> bool:
        """Returns True if `from … import *` of a module may bind a name."""
        found = self.find(star)
        if found is None:
            return not self.is_external(star)
        return name in found.found.module.bindings or bool(found.found.module.stars)

    def _path_of(self, name: str) -> str | None:
        if name in self._names:
            return self._names[name]
        if self.is_external(name):
            return None
        # The searched folder may lie above the folder that is on the path of Python, which itself
        # is no package.
        tail = name.rpartition(".")[2]
        ends = [
            full
            for full in self._by_tail.get(tail, ())
            if full.endswith(f".{name}") and full.removesuffix(f".{name}") not in self._packages
        ]
        return self._names[min(ends, key=len)] if ends else None

    def is_external(self, name: str) -> bool:
        """Returns True for a module of Python, Django or flagstaff, by its dotted name."""
        first, _, _ = name.partition(".")
        return first in self.vocabulary.packages or first in sys.stdlib_module_names

    def read(self, path: str) -> Module | None:
        """Returns the module of a file; None if it cannot be parsed."""
        if path in self._modules:
            # The last one that was read is the last one that is dropped.
            module = self._modules[path] = self._modules.pop(path)
            return module
        module = self._modules[path] = self._parsed(path)
        self._kept_bytes += _size(module)
        while self._kept_bytes > _MAX_KEPT_BYTES and len(self._modules) > 1:
            self._kept_bytes -= _size(self._modules.pop(next(iter(self._modules))))
        return module

    def _parsed(self, path: str) -> Module | None:
        try:
            return parse(path, module_name(path))
        except UnreadableError as error:
            self.problems[path] = str(error)
            return None


def module_name(path: str) -> str:
    """Returns the path as a dotted name, for the root of the file system as the root."""
    parts = list(Path(path).absolute().with_suffix("").parts[1:])
    if parts[-1] == "__init__":
        parts.pop()
    return ".".join(parts)


_FROM = re.compile(r"\bfrom\s+([\w.]+)\s+import\s*(\([^)]*\)|[^\n]*)")


def _imports_in(path: str) -> list[tuple[str, str]]:
    """Returns the modules from which a file imports, and the text with the names."""
    own = module_name(path)
    return [
        (absolute_name(module, own, path), names)
        for module, names in _FROM.findall(read_text(path))
    ]


def _reads_attribute(
    text: str, module: str, name: str, imported: Sequence[tuple[str, str]]
) -> bool:
    """Whether a file reads a name of a module by a dotted name, or has it in a `mock.patch`."""
    last = module.rpartition(".")[2]
    if f"{last}.{name}" not in text:
        return False
    for found in re.findall(rf"(?<![\w.])([\w.]*\b{re.escape(last)})\.{re.escape(name)}\b", text):
        first, _, rest = found.partition(".")
        if rest and re.search(rf"\bas\s+{first}\b", text) is None:
            if is_named(module, found):
                return True
            continue
        # Another module may have the same last name.
        others = [one for one, names in imported if re.search(rf"\b{first}\b", names)]
        if not others or rest or any(is_named(module, f"{one}.{last}") for one in others):
            return True
    return False


def _size(module: Module | None) -> int:
    return len(module.source) if module is not None else 0


def _mentions(path: str, name: str) -> bool:
    try:
        return name.encode() in read(path)
    except OSError:
        return False
    except LimitError:
        return has_bytes(path, name.encode())
