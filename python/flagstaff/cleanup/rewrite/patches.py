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

    def has_name(self, name: str) -> bool:
        """Returns True if code sets an attribute of this name, as `patch.object(module, name)`."""
        others = r"\b(?!waffle\b)\w+"
        pattern = rf"{others}\s*,\s*[\"']{name}[\"']|{others}\.{name}\s*=[^=]"
        return self._found(pattern, name)

    def has_function(self, name: str) -> bool:
        """Returns True if code replaces a function in waffle, for all that call it there."""
        pattern = rf"[\"']waffle(?:\.\w+)*\.{name}[\"']|\w\s*,\s*[\"']{name}[\"']|\.{name}\s*=[^=]"
        return self._found(pattern, name)

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
