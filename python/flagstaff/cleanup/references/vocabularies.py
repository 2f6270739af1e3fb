"""What the names of flagstaff and of other libraries mean: which argument is the key of what."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, fields
from functools import cached_property, lru_cache
from typing import Any

from flagstaff.cleanup.references.functions import (
    BY_NAME,
    MODELS,
    PUBLIC_MODULES,
    RESULTS,
    Function,
)
from flagstaff.cleanup.references.model import About, Kind


@dataclass(frozen=True, eq=False)
class Vocabulary:
    """The names of one library, or of several."""

    #: Functions and classes, by the name that a project imports.
    functions: Mapping[str, Function] = field(default_factory=dict)
    #: Methods of any object, by their names.
    methods: Mapping[str, Function] = field(default_factory=dict)
    #: The attribute of a view that has the key, by the base class that reads it.
    mixins: Mapping[str, tuple[str, Function]] = field(default_factory=dict)
    #: The tags of a template library, by the name that `{% load %}` has.
    libraries: Mapping[str, Mapping[str, Function]] = field(default_factory=dict)
    #: Functions in Jinja2 templates.
    template_functions: Mapping[str, Function] = field(default_factory=dict)
    #: Public modules by the private or longer ones that have the same names.
    modules: Mapping[str, str] = field(default_factory=dict)
    #: Packages whose names are known without their code, which the searched files may contain.
    packages: frozenset[str] = frozenset()
    #: Each Python file with a key has one of these texts.
    texts: tuple[bytes, ...] = ()
    #: Each template with a key has one of these words, and fits the pattern.
    template_words: tuple[bytes, ...] = ()
    template_pattern: bytes = rb"(?!)"

    def __or__(self, other: Vocabulary) -> Vocabulary:
        parts = {one.name: (getattr(self, one.name), getattr(other, one.name)) for one in _FIELDS}
        return Vocabulary(**{name: _joined(*both) for name, both in parts.items()})

    def is_public(self, name: str) -> bool:
        """Returns True for a name that takes a key, or returns something that does."""
        return name in self.functions or name in RESULTS or name in self._classes

    def public_name(self, name: str) -> str:
        """Returns the name by which a project should import something."""
        module, rest = name, ""
        while module:
            if module in self.modules:
                return self.public_name(f"{self.modules[module]}{rest}")
            module, _, last = module.rpartition(".")
            rest = f".{last}{rest}"
        return name

    def may_have_keys(self, data: bytes) -> bool:
        """Returns True if a Python file may name a library or the objects that it adds."""
        return any(text in data for text in self.texts) or any(
            pattern.search(data) for pattern in _PATTERNS
        )

    def template_may_have_keys(self, data: bytes) -> bool:
        """Returns True if a template may evaluate a flag or a value."""
        is_near = any(word in data for word in self.template_words)
        return is_near and self._template.search(data) is not None

    @cached_property
    def template_calls(self) -> re.Pattern[str]:
        """A pattern of calls and subscripts in Jinja2 templates, up to the key."""
        names = "|".join(map(re.escape, self.template_functions))
        return re.compile(rf"(?<![\w.])({names})\s*[(\[]\s*(?:key\s*=\s*)?")

    @cached_property
    def _template(self) -> re.Pattern[bytes]:
        return re.compile(self.template_pattern)

    @cached_property
    def _classes(self) -> frozenset[str]:
        return frozenset({*self.mixins, *(f"flagstaff.models.{name}" for name in MODELS)})


_FIELDS = fields(Vocabulary)
_PATTERNS = (
    re.compile(rb"\.flags\s*[.\[]"),
    re.compile(rb"flags\s*\.\s*(?:on|off|set|value|variant)\("),
)


def _joined(one: Any, other: Any) -> Any:
    if isinstance(one, Mapping):
        return {**one, **other}
    if isinstance(one, bytes):
        return one + b"|" + other
    return one | other if isinstance(one, frozenset) else one + other


_OF_TEMPLATE = {
    about: Function(Kind.TEMPLATE, about) for about in (About.FLAG, About.VALUE, About.EXPERIMENT)
}

FLAGSTAFF = Vocabulary(
    functions=BY_NAME,
    mixins={
        "flagstaff.mixins.FlagRequiredMixin": ("flag_key", Function(Kind.MIXIN)),
    },
    libraries={
        "flagstaff": {
            "flag": _OF_TEMPLATE[About.FLAG],
            "value": _OF_TEMPLATE[About.VALUE],
            "variant": _OF_TEMPLATE[About.EXPERIMENT],
        }
    },
    template_functions={
        "flag_enabled": _OF_TEMPLATE[About.FLAG],
        "get_value": _OF_TEMPLATE[About.VALUE],
        "get_variant": _OF_TEMPLATE[About.EXPERIMENT],
        "request.flags.enabled": _OF_TEMPLATE[About.FLAG],
        "request.flags.aenabled": _OF_TEMPLATE[About.FLAG],
        "request.flags.value": _OF_TEMPLATE[About.VALUE],
        "request.flags.variant": _OF_TEMPLATE[About.EXPERIMENT],
        "request.flags": _OF_TEMPLATE[About.FLAG],
    },
    modules=PUBLIC_MODULES,
    packages=frozenset({"django", "flagstaff", "pytest", "rest_framework"}),
    # Python finds texts that begin with one ten times faster than a pattern.
    texts=(
        b"flagstaff",
        b"flag_enabled",
        b"get_variant",
        b"flag_required",
        b"flag_key",
        b"request.flags",
        b"mark.flag",
        b"mark.value",
        b"mark.variant",
        b'"flags"',
        b"'flags'",
    ),
    template_words=(b"flag", b"value", b"variant"),
    template_pattern=(
        rb"\{%[-+]?\s*(?:flag|value|variant)\s|\bflags\s*[.\[]|\bflag_enabled\b"
        rb"|\bget_va(?:lue|riant)\b"
    ),
)

_BY_TYPE = {
    "boolean": Function(Kind.EVALUATION, About.FLAG, "flag_key", or_about=About.VALUE),
    "string": Function(Kind.EVALUATION, About.VALUE, "flag_key", or_about=About.EXPERIMENT),
    **dict.fromkeys(
        ("integer", "float", "object"), Function(Kind.EVALUATION, About.VALUE, "flag_key")
    ),
}

# The methods of its clients, by their names: no other objects have such methods.
OPENFEATURE = Vocabulary(
    methods={
        f"get_{of_type}_{result}{ending}": function
        for of_type, function in _BY_TYPE.items()
        for result in ("value", "details")
        for ending in ("", "_async")
    },
    texts=tuple(f"get_{of_type}_".encode() for of_type in _BY_TYPE),
)


def _of_waffle(
    kind: Kind, source: str, becomes: str = "", parameter: str = "", position: int = 0
) -> Function:
    name = parameter or f"{source}_name"
    return Function(kind, About.FLAG, name, position, source=source, becomes=becomes)


_ENABLED, _REQUIRED = "flagstaff.flag_enabled", "flagstaff.decorators.flag_required"
_MIXIN, _OVERRIDE = "flagstaff.mixins.FlagRequiredMixin", "flagstaff.testing.override_flag"

WAFFLE = Vocabulary(
    functions={
        "waffle.flag_is_active": _of_waffle(
            Kind.EVALUATION, "flag", "request.flags.enabled", position=1
        ),
        "waffle.switch_is_active": _of_waffle(Kind.EVALUATION, "switch", _ENABLED),
        "waffle.sample_is_active": _of_waffle(Kind.EVALUATION, "sample"),
        "waffle.decorators.waffle_flag": _of_waffle(Kind.DECORATOR, "flag", _REQUIRED),
        "waffle.decorators.waffle_switch": _of_waffle(Kind.DECORATOR, "switch", _REQUIRED),
        "waffle.testutils.override_flag": _of_waffle(Kind.TEST, "flag", _OVERRIDE, "name"),
        "waffle.testutils.override_switch": _of_waffle(Kind.TEST, "switch", _OVERRIDE, "name"),
        "waffle.testutils.override_sample": _of_waffle(Kind.TEST, "sample", _OVERRIDE, "name"),
    },
    mixins={
        "waffle.mixins.WaffleFlagMixin": ("waffle_flag", _of_waffle(Kind.MIXIN, "flag", _MIXIN)),
        "waffle.mixins.WaffleSwitchMixin": (
            "waffle_switch",
            _of_waffle(Kind.MIXIN, "switch", _MIXIN),
        ),
        "waffle.mixins.WaffleSampleMixin": ("waffle_sample", _of_waffle(Kind.MIXIN, "sample")),
    },
    libraries={
        "waffle_tags": {
            "flag": _of_waffle(Kind.TEMPLATE, "flag", "flag"),
            "switch": _of_waffle(Kind.TEMPLATE, "switch", "flag"),
            "sample": _of_waffle(Kind.TEMPLATE, "sample"),
        }
    },
    template_functions={
        "waffle.flag": _of_waffle(Kind.TEMPLATE, "flag", "flag_enabled"),
        "waffle.switch": _of_waffle(Kind.TEMPLATE, "switch", "flag_enabled"),
        "waffle.sample": _of_waffle(Kind.TEMPLATE, "sample"),
    },
    modules={
        # Modules of waffle that import the functions.
        **{
            f"waffle.{module}.{name}": f"waffle.{name}"
            for module in ("decorators", "jinja", "mixins", "models", "views")
            for name in ("flag_is_active", "switch_is_active", "sample_is_active")
        },
    },
    packages=frozenset({"waffle"}),
    texts=(b"waffle", b"flag_is_active", b"switch_is_active", b"sample_is_active"),
    template_words=(b"switch", b"sample", b"waffle"),
    template_pattern=rb"\{%[-+]?\s*(?:switch|sample)\s|\bwaffle\s*\.",
)

#: The libraries that can be searched besides flagstaff and OpenFeature, by name.
OTHERS = {"waffle": WAFFLE}


@lru_cache(maxsize=8)
def vocabulary_of(others: tuple[str, ...] = ()) -> Vocabulary:
    """Returns the names of flagstaff, of OpenFeature, and of these other libraries."""
    return _union([FLAGSTAFF, OPENFEATURE, *(OTHERS[name] for name in others)])


def _union(parts: Iterable[Vocabulary]) -> Vocabulary:
    found = Vocabulary()
    for part in parts:
        found |= part
    return found
