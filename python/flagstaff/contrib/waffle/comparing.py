"""Compares what waffle returns for the rows in its tables with what flagstaff returns.

Waffle's results are computed from the stored columns, so that this works before `install()`, and
also afterwards, when the package `waffle` is the stand-in: its tables stay as waffle would read
them after a way back.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, replace
from decimal import Decimal
from enum import Enum
from typing import Any

from django.contrib.auth import get_user_model
from django.db import router
from django.db.models import F, QuerySet, Window
from django.db.models.functions import Mod, RowNumber

from flagstaff._core import Snapshot, snapshot
from flagstaff._engine.direct import read_own_writes
from flagstaff._engine.explain import Explanation, explanation_of
from flagstaff._tables.rows import all_rows
from flagstaff._tables.user_lookup import batches
from flagstaff._words.rule_parts import groups_of
from flagstaff.conf import conf
from flagstaff.contrib.waffle.converting import LANGUAGE_ATTRIBUTE
from flagstaff.contrib.waffle.names import key_of
from flagstaff.contrib.waffle.rows import SourceRow, read_rows
from flagstaff.models import Segment

_ALL = 100
# Examples that are kept of the differences of a row.
_MAX_EXAMPLES = 5


class Outcome(Enum):
    """What came of the comparison of a row, in the order of the report."""

    DIFFERS = "differs"
    #: The flag is disabled here, and its row in waffle's table is on for some users.
    OFF_HERE = "off here"
    #: There is no flag with its key.
    NO_FLAG = "no flag"
    #: The project's own code evaluates it.
    OWN_CODE = "own code"
    #: The same results, apart from percentages.
    EQUAL = "equal"


@dataclass(frozen=True)
class Person:
    """A visitor for whom both sides are evaluated."""

    #: Such as "anonymous" or "user 42".
    text: str
    #: None for an anonymous visitor.
    user: Any = None
    #: The names of the groups of the user.
    groups: frozenset[str] = frozenset()
    language: str | None = None


@dataclass(frozen=True)
class Difference:
    """The results for one person. None is a percentage that decides."""

    person: str
    waffle: bool | None
    flagstaff: bool | None


@dataclass(frozen=True)
class Compared:
    """A row of waffle, and how its results differ from ours."""

    row: SourceRow
    key: str
    outcome: Outcome
    #: How many of the people have different results, and the first of them.
    count: int = 0
    examples: tuple[Difference, ...] = ()
    #: The percentage here, if one decides for some people here and in waffle.
    rollout_percent: int | None = None


def waffle_result(
    row: SourceRow, user: Any, groups: Collection[str], language: str | None = None
) -> bool | None:
    """Returns what waffle returns for a row; None if its percentage decides.

    `user` is None for an anonymous visitor. For a request without parameters and cookies of waffle.
    """
    if row.kind == "switch":
        return row.active
    if row.kind == "sample":
        return _percentage(row.percent)
    if row.everyone is not None:
        return row.everyone
    is_on = language in row.languages or (user is not None and _has_flag(row, user, groups))
    return True if is_on else _percentage(row.percent)


def compare(users: int) -> tuple[list[Compared], int]:
    """Compares all rows for at most this number of users, spread over their whole table.

    And for an anonymous visitor, a member of the staff, a superuser, a member of each group that a
    flag names, and visitors with its languages. Returns the number of people, too. Reads all rows
    from the database, and writes nothing.
    """
    with read_own_writes():
        rows, ours = [*read_rows()], snapshot()
        groups = {name for row in rows for name in row.groups}
        keys = [key_of(row.kind, row.name) for row in rows]
        flags = all_rows(conf.flag_model).filter(key__in=keys).values_list("rules", flat=True)
        for rules in (*flags, *Segment.objects.values_list("conditions", flat=True)):
            groups |= groups_of(rules)
        people = [*_people(users, sorted(groups))]
        return [_compare(row, people, ours) for row in rows], len(people)


def _compare(row: SourceRow, people: Sequence[Person], ours: Snapshot) -> Compared:
    key = key_of(row.kind, row.name)
    if row.overridden:
        return Compared(row, key, Outcome.OWN_CODE)
    present = explanation_of(Explanation, key, ours.explain(key))
    if present.error_code == "FLAG_NOT_FOUND":
        return Compared(row, key, Outcome.NO_FLAG)
    if present.reason == "DISABLED" and _may_be_on(row):
        return Compared(row, key, Outcome.OFF_HERE)
    differences, rollout_percent = [], None
    listed = replace(row, users=frozenset(row.users))
    # Only flags depend on a visitor.
    visitors = [*people, *map(_speaker, row.languages)] if row.kind == "flag" else people[:1]
    for one in visitors:
        theirs = waffle_result(listed, one.user, one.groups, one.language)
        # Without a visitor, so that no percentage of visitors decides.
        context = {"visitor": None} | ({LANGUAGE_ATTRIBUTE: one.language} if one.language else {})
        found = explanation_of(Explanation, key, ours.explain(key, one.user, context=context))
        result = _result_of(found)
        if theirs is not result:
            differences.append(Difference(one.text, theirs, result))
        elif result is None:
            rollout_percent = found.rollout_percent
    outcome = Outcome.DIFFERS if differences else Outcome.EQUAL
    examples = tuple(differences[:_MAX_EXAMPLES])
    return Compared(row, key, outcome, len(differences), examples, rollout_percent)


def _has_flag(row: SourceRow, user: Any, groups: Collection[str]) -> bool:
    return (
        (row.authenticated and bool(user.is_authenticated))
        or (row.staff and getattr(user, "is_staff", False))
        or (row.superusers and getattr(user, "is_superuser", False))
        or user.pk in row.users
        or not set(groups).isdisjoint(row.groups)
    )


def _percentage(percent: Decimal | None) -> bool | None:
    return bool(percent) if percent in (None, 0, _ALL) else None


def _may_be_on(row: SourceRow) -> bool:
    """Whether waffle turns a row on for some visitors."""
    if row.kind == "flag" and row.everyone is not None:
        return row.everyone
    switches = (row.active, row.testing, row.authenticated, row.staff, row.superusers)
    return any(switches) or any((row.percent, row.languages, row.users, row.groups))


def _result_of(found: Explanation) -> bool | None:
    """Returns a result of ours; None if a percentage decides."""
    by_percentage = found.rule is not None or 0 < (found.rollout_percent or 0) < _ALL
    if found.reason in {"SPLIT", "DEFAULT"} and by_percentage:
        return None
    return found.value


def _people(count: int, groups: Sequence[str]) -> Iterator[Person]:
    """Yields an anonymous visitor, and users. Makes few queries, and one for each group."""
    model: Any = get_user_model()
    rows = model._base_manager.using(router.db_for_write(model)).order_by("pk")
    names = {field.name for field in model._meta.get_fields()}
    special: dict[str, dict[str, object]] = {
        "staff": {"is_staff": True, "is_superuser": False},
        "superuser": {"is_superuser": True},
    }
    special |= {f"in group {name}": {"groups__name": name} for name in groups}
    yield Person("anonymous")
    chosen = {user.pk: f"user {user.pk}" for user in _spread(rows, count)}
    for text, filters in special.items():
        if {name.partition("__")[0] for name in filters} <= names:
            user = rows.filter(**filters).first()
            if user is not None:
                chosen[user.pk] = f"{chosen.get(user.pk, f'user {user.pk}')}, {text}"
    found = rows.prefetch_related("groups") if "groups" in names else rows
    for batch in batches(chosen):
        for user in found.filter(pk__in=batch):
            of_user = [group.name for group in user.groups.all()] if "groups" in names else []
            yield Person(chosen[user.pk], user, frozenset(of_user))


def _spread(rows: QuerySet[Any], count: int) -> QuerySet[Any]:
    """Returns at most `count` rows, evenly over all of them by primary key."""
    total = rows.count()
    if total <= count:
        return rows.only("pk")
    numbered = rows.annotate(flagstaff_place=Window(RowNumber(), order_by="pk"))
    spread = numbered.annotate(flagstaff_spread=Mod(F("flagstaff_place") * count, total))
    chosen: QuerySet[Any] = spread.filter(flagstaff_spread__lt=count)
    return chosen.only("pk")


def _speaker(language: str) -> Person:
    return Person(f"anonymous, language {language}", language=language)
