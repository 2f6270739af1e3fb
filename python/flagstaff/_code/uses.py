"""A use of a key in the project's code."""

from __future__ import annotations

from dataclasses import dataclass

FLAG, VALUE, EXPERIMENT = "flag", "value", "experiment"
#: The code does not say which of them.
ANY = ""


@dataclass(frozen=True)
class Use:
    """A line that evaluates or overrides a key, or that names a declaration that is gone."""

    path: str
    #: The first line is 1.
    line: int
    #: The line without its indent.
    code: str
    #: What the code takes the key for: `flag`, `value`, `experiment`, or nothing of these.
    kind: str
    #: The key; of a declaration that is gone, its name.
    key: str
    #: Whether a test overrides it.
    is_override: bool = False
    #: The file that lacks the declaration; empty for a key.
    missing_in: str = ""
    #: The names that this file has.
    names: tuple[str, ...] = ()
