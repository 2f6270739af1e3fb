"""What tests replace by its name: in a module of the project, or in waffle itself."""

from __future__ import annotations

import re
from functools import cache

from flagstaff.cleanup.references.files import LimitError, read
from flagstaff.cleanup.references.project import Project


class Patches:
    """Compares names as text: it may see a patch where there is none."""

    def __init__(self, project: Project) -> None:
        self._project = project
        self._found = cache(self._search)

    def has_object(self, path: str, name: str) -> bool:
        """Returns True if code passes a name to `patch.object(module, …)` or the like."""
        parts = path.replace("\\", "/").removesuffix(".py").removesuffix("/__init__").split("/")
        return self._found(rf"\b{re.escape(parts[-1])}\s*,\s*[\"']{re.escape(name)}[\"']", name)

    def has_function(self, name: str) -> bool:
        """Returns True if code replaces a function in waffle, for all that call it there."""
        in_text = rf"[\"']waffle(?:\.\w+)*\.{name}[\"']"
        return self._found(rf"{in_text}|\bwaffle\s*,\s*[\"']{name}[\"']", name)

    def has_model_method(self) -> bool:
        """Returns True if code replaces a method of waffle's models."""
        return self._found(r"[\"']waffle\.models\.\w+\.\w+[\"']", "waffle.models.")

    def _search(self, pattern: str, text: str) -> bool:
        wanted = re.compile(pattern)
        try:
            texts = map(read, self._project.paths_mentioning(text))
            return any(wanted.search(one.decode("utf-8", "replace")) for one in texts)
        except LimitError:
            return True
