"""The Python files of a code base: parsed on demand, and found by the names of their modules."""

from __future__ import annotations

import ast
import warnings
from functools import cache
from pathlib import Path, PurePosixPath

__all__ = ["CodeBase", "python_files"]

LEFT_OUT = {".git", "node_modules", "__pycache__", ".venv", "venv"}


def python_files(root: Path) -> list[Path]:
    """Returns the Python files below a folder, sorted, without those of other projects."""
    found = (p for p in root.rglob("*.py") if not LEFT_OUT.intersection(p.relative_to(root).parts))
    return sorted(path for path in found if path.is_file())


class CodeBase:
    """The modules below one folder."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self._by_stem: dict[str, list[PurePosixPath]] = {}
        for path in python_files(root):
            relative = PurePosixPath(path.relative_to(root).as_posix())
            module = relative.parent if relative.name == "__init__.py" else relative.with_suffix("")
            self._by_stem.setdefault(module.name, []).append(module)

    @cache  # noqa: B019 (a code base lives as long as the run)
    def tree(self, module: PurePosixPath) -> ast.Module | None:
        """Returns the parsed module, or None if this Python cannot parse it."""
        file = self.root / module.with_suffix(".py")
        if not file.is_file():
            file = self.root / module / "__init__.py"
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            try:
                return ast.parse(file.read_bytes())
            except (OSError, SyntaxError, ValueError):
                return None

    def is_package(self, module: PurePosixPath) -> bool:
        """Returns whether the module is a folder."""
        return (self.root / module / "__init__.py").is_file()

    def find(self, dotted: str, level: int, importer: PurePosixPath) -> PurePosixPath | None:
        """Returns the module that an import names, or None if it is not of this code base."""
        parts = dotted.split(".") if dotted else []
        if level:
            base = importer if self.is_package(importer) else importer.parent
            for _ in range(level - 1):
                base = base.parent
            module = base.joinpath(*parts)
            return module if module in self._by_stem.get(module.name, []) else None
        if not parts:
            return None
        # Any folder may be on the path; the shortest one wins.
        found = [
            m for m in self._by_stem.get(parts[-1], []) if m.parts[-len(parts) :] == tuple(parts)
        ]
        return min(found, key=lambda m: len(m.parts), default=None)

    def settings(self) -> list[PurePosixPath]:
        """Returns the modules that look like settings of Django."""
        modules = [m for modules in self._by_stem.values() for m in modules]
        return [m for m in modules if "settings" in m.parts and "tests" not in m.parts]
