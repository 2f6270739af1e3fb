"""Copies a code base, rewrites the copy, and returns the places in it."""

from __future__ import annotations

import shutil
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

from tools.reference_accuracy.codebase import LEFT_OUT, CodeBase, python_files
from tools.reference_accuracy.constants import Constants
from tools.reference_accuracy.edx_toggles import rewrite_switches
from tools.reference_accuracy.rewriting import rewritten
from tools.reference_accuracy.templates import rewritten_template
from tools.reference_accuracy.truth import Place

__all__ = ["Copy", "rewritten_copy"]

_TEMPLATES = {".html", ".txt", ".xml", ".jinja", ".jinja2", ".j2"}


@dataclass
class Copy:
    """A rewritten copy of a code base."""

    root: Path
    places: list[Place] = field(default_factory=list)
    changed: list[str] = field(default_factory=list)
    #: Files with django-waffle's name that this Python cannot parse: not rewritten.
    unparsed: list[str] = field(default_factory=list)


def rewritten_copy(source: Path, target: Path) -> Copy:
    """Copies `source` to `target`, and rewrites all files there."""
    shutil.copytree(source, target, symlinks=True, ignore=shutil.ignore_patterns(*LEFT_OUT))
    rewrite_switches(python_files(target))
    copy = Copy(target)
    # With the constants before the names are rewritten, which are the same after.
    constants = Constants(CodeBase(target))
    for file in python_files(target):
        _rewrite_python(copy, file, constants)
    for file in sorted(target.rglob("*")):
        if file.suffix in _TEMPLATES and file.is_file() and not file.is_symlink():
            _rewrite_template(copy, file)
    return copy


def _rewrite_python(copy: Copy, file: Path, constants: Constants) -> None:
    path = file.relative_to(copy.root).as_posix()
    try:
        new = rewritten(file.read_bytes())
    except SyntaxError:
        copy.unparsed.append(path)
        return
    if new is None:
        return
    compile(new.result.text, path, "exec", dont_inherit=True)
    file.write_bytes(new.result.text)
    copy.changed.append(path)
    relative = PurePosixPath(path)
    module = relative.parent if relative.name == "__init__.py" else relative.with_suffix("")
    for found in new.found:
        first, last = new.span(found.node)
        key = constants.key(found.key, module, new.tree)
        kind = found.kind if key is not None else "dynamic"
        copy.places.append(Place(path, first, last, kind, key))


def _rewrite_template(copy: Copy, file: Path) -> None:
    try:
        new = rewritten_template(file.read_text())
    except UnicodeDecodeError:
        return
    if new is None:
        return
    file.write_text(new.text)
    path = file.relative_to(copy.root).as_posix()
    copy.changed.append(path)
    for line, key in new.places:
        kind = "template" if key is not None else "dynamic"
        copy.places.append(Place(path, line, line, kind, key))
