"""Reads the flags, switches and samples of waffle, also those of a project's own models.

It reads columns, never instances: those of the stand-in show the present state of our flags.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from django.db import router
from django.db.models import Model

from flagstaff.contrib.waffle.settings import WAFFLE_KINDS, WaffleKind, key_of, waffle_model

# What a project's own model may override. Its code decides about its rows then.
_EVALUATING_METHODS = (
    "is_active",
    "is_active_for_user",
    "_is_active_for_user",
    "_is_active_for_language",
    "_is_active_for_percent",
    "_get_user_ids",
    "_get_group_ids",
)

#: The columns of waffle that decide, by kind.
DECIDING_COLUMNS: Mapping[WaffleKind, tuple[str, ...]] = {
    "flag": (
        "everyone",
        "percent",
        "testing",
        "languages",
        "authenticated",
        "staff",
        "superusers",
    ),
    "switch": ("active",),
    "sample": ("percent",),
}
_OTHER_COLUMNS: Mapping[WaffleKind, tuple[str, ...]] = {
    "flag": ("name", "note", "created", "modified", "rollout"),
    "switch": ("name", "note", "created", "modified"),
    "sample": ("name", "note", "created", "modified"),
}

#: In an instance: the columns as code has seen them.
SEEN = "_flagstaff_seen"


@dataclass(frozen=True)
class Row:
    """A flag, switch or sample of waffle: `row["everyone"]` is the value of a column."""

    kind: WaffleKind
    #: By name. A kind does not have the columns of the others.
    columns: Mapping[str, Any]
    #: The primary keys of the users of a flag, and the names of its groups.
    users: Collection[Any] = ()
    groups: Collection[str] = ()
    #: The columns that waffle does not have, if they are not empty.
    own: tuple[str, ...] = ()
    #: The same of relations: their names, their models, and the primary keys.
    objects: tuple[tuple[str, Any, Collection[Any]], ...] = ()

    def __getitem__(self, column: str) -> Any:
        return self.columns.get(column)

    @property
    def name(self) -> str:
        """The name that waffle knows it by."""
        return str(self["name"])

    @property
    def key(self) -> str:
        """The key of its flag."""
        return key_of(self.kind, self.name)

    @property
    def languages(self) -> list[str]:
        """The languages of a flag."""
        languages = (language.strip() for language in (self["languages"] or "").split(","))
        return [*filter(None, languages)]


@lru_cache
def overridden_methods(model: type[Any]) -> tuple[str, ...]:
    """Returns the methods that a model overrides, so that its own code decides about its rows."""
    return tuple(
        name
        for name in _EVALUATING_METHODS
        if (method := getattr(model, name, None)) is not None
        and getattr(method, "__module__", "").partition(".")[0] not in {"waffle", "flagstaff"}
    )


def has_own_code(model: Any) -> bool:
    """Whether code of the project decides about the rows of a model, unless their flag is off."""
    return bool(overridden_methods(model))


def code_text(model: Any) -> str:
    """Returns what evaluates the rows of a model, such as "is_active() of shop.Flag"."""
    methods = ", ".join(f"{name}()" for name in overridden_methods(model))
    return f"{methods} of {model._meta.label}" if methods else ""


def seen_name(instance: Any) -> str:
    """Returns the name that the table has: code may have assigned another one."""
    return str(instance.__dict__.get(SEEN, {}).get("name", instance.name))


def read_rows() -> Iterator[Row]:
    """Yields the rows of the three tables by kind and name. Makes few queries, from the writer."""
    for kind in WAFFLE_KINDS:
        model = waffle_model(kind)
        yield from read_kind(kind, router.db_for_write(model))


def read_kind(kind: WaffleKind, using: str) -> Iterator[Row]:
    """Yields the rows of one table by name."""
    model = waffle_model(kind)
    rows = model._base_manager.using(using).order_by("name")
    related: dict[str, dict[Any, list[Any]]] = {}
    for relation in model._meta.many_to_many:
        # Rules name groups.
        path = "groups__name" if relation.name == "groups" else f"{relation.name}__pk"
        related[relation.name] = by_pk = defaultdict(list)
        for pk, other in rows.filter(**{f"{relation.name}__isnull": False}).values_list("pk", path):
            by_pk[pk].append(other)
    users, groups = related.pop("users", {}), related.pop("groups", {})
    for columns in rows.values():
        pk = columns[model._meta.pk.attname]
        objects = (
            (name, model._meta.get_field(name).related_model, by_pk[pk])
            for name, by_pk in sorted(related.items())
            if pk in by_pk
        )
        own_columns = tuple(_own_columns(kind, model, columns))
        of_groups = sorted(groups.get(pk, ()))
        yield Row(kind, columns, users.get(pk, ()), of_groups, own_columns, tuple(objects))


def _own_columns(kind: WaffleKind, model: type[Model], columns: Mapping[str, Any]) -> Iterator[str]:
    """Yields the columns beside those of waffle's abstract model that are not empty."""
    waffle_columns = {*DECIDING_COLUMNS[kind], *_OTHER_COLUMNS[kind]}
    for field in model._meta.concrete_fields:
        # Columns such as those with auto_now are not editable.
        empty: tuple[Any, ...] = (None, "", [], {}, field.get_default())
        is_own = field.editable and not field.primary_key and field.name not in waffle_columns
        if is_own and columns[field.attname] not in empty:
            yield field.attname
