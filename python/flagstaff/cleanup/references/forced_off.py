"""The keys in FLAGSTAFF_FORCE_OFF, wherever a file sets this environment variable."""

from __future__ import annotations

import re

from flagstaff.cleanup.references.model import Kind, Reference

__all__ = ["forced_off"]

_NAME = b"FLAGSTAFF_FORCE_OFF"
# NAME=a,b of a shell; NAME: "a,b" of YAML; environ["NAME"] = "a,b"; setenv("NAME", "a,b").
_SET = re.compile(
    r"FLAGSTAFF_FORCE_OFF[\"'\]]*\s*[:=,]\s*(?:\"([^\"\n]*)\"|'([^'\n]*)'|([\w.,-]+))"
)


def forced_off(path: str, data: bytes) -> list[Reference]:
    """Returns the keys that a file sets, each at its place in the list."""
    if _NAME not in data:
        return []
    found: list[Reference] = []
    for number, line in enumerate(data.decode("utf-8", "replace").split("\n"), start=1):
        for match in _SET.finditer(line):
            group = next(index for index in (1, 2, 3) if match[index] is not None)
            for key in re.finditer(r"[^,\s]+", match[group]):
                column = match.start(group) + key.start() + 1
                code = line.strip()
                name = _NAME.decode()
                found.append(Reference(path, number, column, Kind.SETTING, key[0], code, name=name))
    return found
