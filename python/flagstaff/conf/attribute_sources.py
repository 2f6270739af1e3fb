"""The setting ATTRIBUTES: columns of the user model, and a callable."""

from __future__ import annotations

from dataclasses import dataclass

#: The attributes that every project has.
BUILT_IN = ("is_authenticated", "is_staff", "is_superuser", "groups")

_EXPECTED = (
    'expected a list of columns of the user model, such as ["country", "plan"], or the path of a '
    'function (user, request), such as "shop.flags.attributes"'
)


@dataclass(frozen=True)
class AttributeSources:
    """What ATTRIBUTES names."""

    #: Names of concrete fields of the user model.
    columns: tuple[str, ...]
    #: The path of the callable; None without one.
    callable: str | None


def problem_of(value: object) -> tuple[str, str] | None:
    """Returns what is wrong with the setting, and what is expected; None if it can be used."""
    names = _names(value)
    if names is None:
        return f" is {value!r}", _EXPECTED
    for name in names:
        if name in BUILT_IN:
            return f" names {name!r}, which is built in", "remove it: rules can read it anyway"
        if name == "visitor":
            problem = " names 'visitor', which is the id of the browser"
            return problem, "remove it; a function can return the column under another name"
        if not all(part.isidentifier() for part in name.split(".")):
            return f" names {name!r}", _EXPECTED
    if sum("." in name for name in names) > 1:
        return " names more than one function", "call the others from the first one"
    return None


def sources_of(value: object) -> AttributeSources:
    """Returns the columns and the callable of a valid setting."""
    names = _names(value) or ()
    paths = [name for name in names if "." in name]
    columns = tuple(name for name in names if "." not in name)
    return AttributeSources(columns, paths[0] if paths else None)


def is_path(value: object) -> bool:
    """Whether the value is the dotted path of a function in a module."""
    if not isinstance(value, str):
        return False
    return "." in value and all(part.isidentifier() for part in value.split("."))


def _names(value: object) -> tuple[str, ...] | None:
    if isinstance(value, str):
        return (value,)
    if isinstance(value, list | tuple) and all(isinstance(name, str) for name in value):
        return tuple(value)
    return None
