"""Small projects to search, and what is found in them."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Collection
from contextlib import redirect_stdout
from importlib import import_module, invalidate_caches
from io import StringIO
from pathlib import Path
from textwrap import dedent
from unittest import mock

import flagstaff
from flagstaff.cleanup.references import Kind, Reference, search
from flagstaff.cleanup.references.files import searched_files
from flagstaff.cleanup.references.patching import Patch, patch
from flagstaff.cleanup.references.searching import search_files, with_candidates

#: The kind of a place, and its key or pattern.
Found = tuple[str, str]


def write_project(root: Path, files: dict[str, str]) -> Path:
    """Writes the files, by their paths below the root."""
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(dedent(text))
    return root


def references_in(root: Path, keys: Collection[str] | None = None, **files: str) -> list[Reference]:
    """Returns the references in Python modules, by their names: `views="…"`."""
    write_project(root, {f"{name}.py": text for name, text in files.items()})
    return list(search([root], keys))


def found_in(root: Path, **files: str) -> list[Found]:
    """Returns the kind and the key, or the pattern, of each reference."""
    return [(str(one.kind), one.key or one.pattern) for one in references_in(root, None, **files)]


def keys_in(root: Path, **files: str) -> list[str]:
    """Returns the keys of the references with one, in the order of the places."""
    found = references_in(root, None, **files)
    return [one.key for one in found if one.key is not None and one.kind != Kind.DYNAMIC]


def patched(root: Path, files: dict[str, str], **results: bool) -> Patch:
    """Returns the patch of a project with the results of some flags."""
    write_project(root, files)
    found = search_files(searched_files([root]), patched=results)
    return patch(found, with_candidates(found.references, list(results)), results)


def found_with_waffle(root: Path, files: dict[str, str]) -> list[tuple[str, str, str, str]]:
    """Returns kind, key or pattern, name and source of each reference, also those of waffle."""
    write_project(root, files)
    found = search_files(searched_files([root]), others=("waffle",)).references
    return [(str(one.kind), one.key or one.pattern, one.name, one.source) for one in found]


def listed(root: Path, source: str, *, on: bool = True, name: str = "views.py") -> list[str | None]:
    """Returns the keys that the patch for the flag `a` lists. It must change nothing."""
    found = patched(root, {name: source}, a=on)
    assert found.text == ""
    return [one.key for one in found.remaining]


def apply(found: Patch) -> None:
    """Changes the files by the program `patch`."""
    if found.text:
        subprocess.run(["patch", "-s", "-p1", "-d", "/"], input=found.text.encode(), check=True)


def printed(root: Path, *, on: bool) -> str:
    """Returns what the module `main` prints. The flag `a` has this result, others the other."""

    def flag_enabled(key: str, *_args: object, **_context: object) -> bool:
        return on is (key == "a")

    before, output = set(sys.modules), StringIO()
    invalidate_caches()
    with (
        mock.patch.object(sys, "path", [str(root), *sys.path]),
        mock.patch.object(flagstaff, "flag_enabled", flag_enabled),
        redirect_stdout(output),
    ):
        try:
            import_module("main")
        finally:
            for name in set(sys.modules) - before:
                if (getattr(sys.modules[name], "__file__", "") or "").startswith(str(root)):
                    del sys.modules[name]
    return output.getvalue()


def resolved(root: Path, source: str, *, on: bool = True, name: str = "views.py") -> str:
    """Returns the file after the patch for the flag `a`, applied by the program `patch`."""
    apply(patched(root, {name: source}, a=on))
    return (root / name).read_text()
