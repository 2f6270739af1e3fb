"""Copies a code base, notes the places of django-waffle in it, and rewrites the copy."""

from __future__ import annotations

import ast
import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path, PurePosixPath

from django.test import override_settings

from flagstaff.cleanup.references.files import searched_files
from flagstaff.cleanup.references.model import Kind
from flagstaff.cleanup.rewrite.keys import Keys
from flagstaff.cleanup.rewrite.rewriting import rewrite
from tools.reference_accuracy.codebase import LEFT_OUT, CodeBase, python_files
from tools.reference_accuracy.constants import Constants
from tools.reference_accuracy.edx_toggles import rewrite_switches
from tools.reference_accuracy.truth import Place
from tools.reference_accuracy.waffle_places import in_python, in_template

__all__ = ["copied", "places_in", "rewrite_copy"]

_TEMPLATES = {".html", ".txt", ".xml", ".jinja", ".jinja2", ".j2"}
_MIDDLEWARE = ["flagstaff.middleware.FlagstaffMiddleware"]


class _AllKeys(Keys):
    """Each name of django-waffle has a flag that flagstaff can evaluate alone."""

    def __init__(self) -> None:
        super().__init__({}, {})

    def problem(self, source: str, name: str, kind: Kind, *, for_user: bool) -> None:
        return None


def copied(source: Path, target: Path) -> None:
    """Copies `source` to `target`, where switches of edx-toggles become calls of django-waffle."""
    shutil.copytree(source, target, symlinks=True, ignore=shutil.ignore_patterns(*LEFT_OUT))
    rewrite_switches(python_files(target))


def rewrite_copy(root: Path, exclude: Sequence[str] = ()) -> int:
    """Rewrites all that the package can rewrite, and returns how many places it leaves."""
    with override_settings(MIDDLEWARE=_MIDDLEWARE):
        made = rewrite(searched_files([root], exclude), _AllKeys(), "flagstaff")
    for path, (_old, new) in made.files.items():
        Path(path).write_bytes(new.encode())
    return len(made.left)


def places_in(root: Path) -> tuple[list[Place], list[str]]:
    """Returns the places, and the files with django-waffle's name that this Python cannot parse."""
    places: list[Place] = []
    unparsed: list[str] = []
    constants = Constants(CodeBase(root))
    for file in python_files(root):
        text = file.read_bytes()
        path = PurePosixPath(file.relative_to(root).as_posix())
        try:
            places += _of_python(path, text, constants) if b"waffle" in text else ()
        except SyntaxError:
            unparsed.append(path.as_posix())
    for file in sorted(root.rglob("*")):
        if file.suffix in _TEMPLATES and file.is_file() and not file.is_symlink():
            places += _of_template(file.relative_to(root).as_posix(), file)
    return places, unparsed


def _of_python(path: PurePosixPath, text: bytes, constants: Constants) -> Iterator[Place]:
    module = path.parent if path.name == "__init__.py" else path.with_suffix("")
    tree = ast.parse(text)
    for found in in_python(tree):
        key = constants.key(found.key, module, tree)
        first, last = found.node.lineno, found.node.end_lineno or found.node.lineno
        yield Place(str(path), first, last, found.kind if key is not None else "dynamic", key)


def _of_template(path: str, file: Path) -> Iterator[Place]:
    try:
        text = file.read_text()
    except UnicodeDecodeError:
        return
    for line, key in in_template(text):
        yield Place(path, line, line, "template" if key is not None else "dynamic", key)
