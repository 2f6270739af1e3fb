"""A reference: one place in the code that names a flag or a value."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum


class Kind(str, Enum):
    """What the code at a place does with the key."""

    EVALUATION = "evaluation"
    DECORATOR = "decorator"
    MIXIN = "mixin"
    PERMISSION = "permission"
    TEMPLATE = "template"
    TEST = "test"
    CHANGE = "change"
    QUERY = "query"
    SETTING = "setting"
    #: The key is built at run time.
    DYNAMIC = "dynamic"

    __str__ = str.__str__


class About(str, Enum):
    """What has the key. Values and segments have keys of their own."""

    FLAG = "flag"
    VALUE = "value"
    SEGMENT = "segment"
    EXPERIMENT = "experiment"

    __str__ = str.__str__


@dataclass(frozen=True)
class Reference:
    """One place. A call that may have several keys has one reference for each."""

    #: The file, below the searched path as it was given.
    path: str
    #: Both begin with 1; columns count characters.
    line: int
    column: int
    kind: Kind
    #: None if the key is built at run time.
    key: str | None
    #: The line of code, without the spaces around it.
    code: str
    about: About = About.FLAG
    #: What names the key, such as "flag_enabled" or "{% flag %}".
    name: str = ""
    #: The constant parts of a key that is built at run time, as a pattern with "*".
    pattern: str = ""
    #: The keys that this pattern may be, among the keys that are searched or found.
    candidates: tuple[str, ...] = ()
    #: What else may have the key, besides `about`.
    or_about: About | None = None
    #: What the key is the name of in another library, such as "switch"; empty for our keys.
    source: str = ""
