"""The setting ENVIRONMENT: name and colour of a deployment, and whether it is production."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, cast

_COLORS = ("grey", "green", "blue", "purple", "orange", "red")
_MAX_NAME = 40
_EXPECTED = (
    'None, or a dict such as {"name": "Production", "color": "red", "production": True}; '
    f"colors: {', '.join(_COLORS)}"
)


@dataclass(frozen=True)
class Environment:
    """A deployment of the project, as the pages of the admin name it."""

    name: str
    #: One of the colours for which the stylesheet has a class.
    color: str = "grey"
    #: Whether changes of most users need the key to be typed.
    production: bool = False


def environment_of(value: object) -> Environment | None:
    """Returns the environment that a valid setting describes."""
    return None if value is None else Environment(**cast("Mapping[str, Any]", value))


def problem_of(value: object) -> tuple[str, str] | None:
    """Returns what is wrong with a setting, and what is expected; None if it is valid."""
    if value is None:
        return None
    if not isinstance(value, Mapping):
        return f" is {value!r}", f"expected {_EXPECTED}"
    problem = _problem_in(value)
    return None if problem is None else (problem, f"expected {_EXPECTED}")


def _problem_in(value: Mapping[Any, Any]) -> str | None:
    for name in value:
        if name not in ("name", "color", "production"):
            return f" has no entry {name!r}"
    name = value.get("name")
    if not (isinstance(name, str) and 0 < len(name.strip()) <= _MAX_NAME and name.isprintable()):
        return f'["name"] is {name!r}'
    if value.get("color", "grey") not in _COLORS:
        return f'["color"] is {value["color"]!r}'
    if not isinstance(value.get("production", False), bool):
        return f'["production"] is {value["production"]!r}'
    return None
