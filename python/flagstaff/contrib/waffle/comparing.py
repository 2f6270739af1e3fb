"""Compares what waffle returns for the rows in its tables with what flagstaff returns.

Waffle's results are computed from the stored columns, so that this works before `install()`, and
also afterwards, when the package `waffle` is the stand-in: its tables stay as waffle would read
them after a way back. Rows with own code are evaluated by it, with the methods of the package and
with those of the stand-in.
"""

from __future__ import annotations

import random
from collections.abc import Collection, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from decimal import Decimal
from inspect import iscoroutine
from itertools import product
from typing import Any, NamedTuple
from unittest.mock import patch

from django.contrib.auth import get_user_model
from django.contrib.auth.models import AnonymousUser
from django.db import router, transaction
from django.db.models import F, Window
from django.db.models.functions import Mod, RowNumber
from django.test import RequestFactory

from flagstaff import read_own_writes, snapshot
from flagstaff._core import Snapshot
from flagstaff._evaluation import Explanation, explanation_of
from flagstaff._tables.rows import all_rows
from flagstaff._text.rules import groups_of
from flagstaff.conf import conf
from flagstaff.contrib.waffle import contract, rows
from flagstaff.contrib.waffle.rows import Row, has_own_code, read_rows
from flagstaff.contrib.waffle.settings import LANGUAGE_ATTRIBUTE, WaffleKind, waffle_model
from flagstaff.extensions import Record
from flagstaff.models import Segment

#: The outcomes after which a swap, or the way back, changes results: results differ; the flag is
#: off here, and on for some users in waffle's table; there is no flag with its key.
DIFFERING = DIFFERS, OFF_HERE, NO_FLAG = "differs", "off here", "no flag"
#: The project's own code failed for a person; or the results are equal, apart from percentages.
OWN_CODE, EQUAL = "own code", "equal"
#: All outcomes of a row, in the order of the report.
OUTCOMES = (*DIFFERING, OWN_CODE, EQUAL)
_ALL = 100
# Examples that are kept of the differences of a row.
_MAX_EXAMPLES = 5
_REQUEST, _USER = "is_active", "is_active_for_user"
_RESULTS = {True: "on", False: "off", None: "by percentage"}


class Person(NamedTuple):
    """A visitor for whom both sides are evaluated."""

    #: Such as "anonymous" or "user 42".
    text: str
    #: None for an anonymous visitor.
    user: Any = None
    #: The names of the groups of the user.
    groups: Collection[str] = ()
    language: str | None = None


def waffle_result(row: Row, person: Person) -> bool | None:
    """Returns what waffle returns for a row; None if its percentage decides.

    For a request without parameters and cookies of waffle.
    """
    if row.kind == "switch":
        return bool(row["active"])
    if row.kind == "flag" and row["everyone"] is not None:
        return bool(row["everyone"])
    if row.kind == "flag" and (person.language in row.languages or _has_flag(row, person)):
        return True
    percent: Decimal | None = row["percent"]
    return bool(percent) if percent in {None, 0, _ALL} else None


def _has_flag(row: Row, person: Person) -> bool:
    return person.user is not None and bool(
        (row["authenticated"] and person.user.is_authenticated)
        or (row["staff"] and getattr(person.user, "is_staff", False))
        or (row["superusers"] and getattr(person.user, "is_superuser", False))
        or person.user.pk in row.users
        or {*person.groups} & {*row.groups}
    )


def compare(users: int) -> tuple[list[Record], int]:
    """Compares all rows for at most this number of users, spread over their whole table.

    And for an anonymous visitor, a member of the staff, a superuser, a member of each group that a
    flag names, and visitors with its languages. Returns a record for each row, and the number of
    people. Reads all rows from the database, and writes nothing.
    """
    with read_own_writes():
        rows, our_snapshot = [*read_rows()], snapshot()
        groups = {name for row in rows for name in row.groups}
        flags = all_rows(conf.flag_model).filter(key__in=[row.key for row in rows])
        segments = Segment.objects.values_list("conditions", flat=True)
        for rules in (*flags.values_list("rules", flat=True), *segments):
            groups |= groups_of(rules)
        people = [*_people(users, sorted(groups))]
        return [_compare(row, people, our_snapshot) for row in rows], len(people)


def _compare(row: Row, people: list[Person], our_snapshot: Snapshot) -> Record:
    record: dict[str, Any] = {"outcome": EQUAL, "kind": row.kind, "name": row.name, "key": row.key}
    record |= {"waffle": "", "flagstaff": "", "people": 0, "examples": []}
    present = explanation_of(Explanation, row.key, our_snapshot.explain(row.key))
    languages = [
        Person(f"anonymous, language {language}", language=language) for language in row.languages
    ]
    # Only flags depend on a visitor.
    people = [*people, *languages] if row.kind == "flag" else people[:1]
    if has_own_code(waffle_model(row.kind)):
        return {**record, **_compare_code(row, people, is_off=present.reason == "DISABLED")}
    if present.error_code == "FLAG_NOT_FOUND":
        return {**record, "outcome": NO_FLAG}
    if present.reason == "DISABLED" and _may_be_on(row):
        return {**record, "outcome": OFF_HERE, "waffle": "on for some", "flagstaff": "off"}
    row = replace(row, users=frozenset(row.users))
    for person in people:
        theirs, (result, rollout) = (
            waffle_result(row, person),
            _our_result(row.key, person, our_snapshot),
        )
        sides = {"waffle": _RESULTS[theirs], "flagstaff": _RESULTS[result]}
        if theirs is not result:
            if not record["people"]:
                record |= {**sides, "outcome": DIFFERS}
            record["people"] += 1
            record["examples"].append({"person": person.text, **sides})
        elif result is None and not record["people"]:
            record |= {"waffle": f"{row['percent']} %", "flagstaff": f"{rollout} %"}
    return {**record, "examples": record["examples"][:_MAX_EXAMPLES]}


def _may_be_on(row: Row) -> bool:
    """Whether waffle turns a row on for some visitors."""
    if row["everyone"] is not None:
        return bool(row["everyone"])
    names = ("active", "testing", "authenticated", "staff", "superusers", "percent")
    return any(row[name] for name in names) or any((row.languages, row.users, row.groups))


def _compare_code(row: Row, people: Iterable[Person], *, is_off: bool) -> Record:
    """Returns how the results of own code differ, and for how many people. Rolls back its writes.

    As if the flag were on here: its code is run with the methods of waffle, and of the stand-in.
    """
    model, changed = waffle_model(row.kind), OFF_HERE if is_off else DIFFERS
    using = router.db_for_write(model)
    examples: dict[str, dict[str, dict[str, str]]] = {changed: {}, OWN_CODE: {}}
    is_on = patch.object(rows, "is_off", return_value=False)
    with transaction.atomic(using=using), is_on:
        stored = model._base_manager.using(using).get(name=row.name)
        for person, name in product(
            people, (_REQUEST, _USER) if row.kind == "flag" else (_REQUEST,)
        ):
            # So that a percentage draws the same.
            drawing = random.getstate()
            theirs = _code_result(stored, row.kind, name, person)
            random.setstate(drawing)
            with _stand_in_methods():
                ours = False if is_off else _code_result(stored, row.kind, name, person)
            # None and False are both off, but own code may ask which of them.
            is_different = bool(theirs) if is_off else theirs is not ours and theirs != ours
            if isinstance(theirs, _Failed) or is_different:
                outcome = OWN_CODE if isinstance(theirs, _Failed) else changed
                sides = {"waffle": str(theirs), "flagstaff": str(ours)}
                example = {"person": f"{person.text}, {name}()", **sides}
                examples[outcome].setdefault(person.text, example)
        transaction.set_rollback(True, using=using)
    outcome = next((outcome for outcome, of_outcome in examples.items() if of_outcome), EQUAL)
    shown = [*examples.get(outcome, {}).values()]
    sides = {side: shown[0][side] if shown else "" for side in ("waffle", "flagstaff")}
    return {"outcome": outcome, **sides, "people": len(shown), "examples": shown[:_MAX_EXAMPLES]}


class _Failed(str):
    """Why own code has no result, such as the name of its exception."""

    __slots__ = ()


def _code_result(stored: Any, kind: WaffleKind, name: str, person: Person) -> Any:
    request: Any = RequestFactory().get("/")
    request.user, request.session = person.user or AnonymousUser(), {}
    if person.language is not None:
        request.LANGUAGE_CODE = person.language
    argument = request.user if name == _USER else request
    try:
        result = getattr(stored, name)(*([argument] if kind == "flag" else ()))
    except Exception as error:  # noqa: BLE001 (code of the project, which may need its middleware)
        return _Failed(type(error).__name__)
    if iscoroutine(result):
        result.close()
        return _Failed("coroutine")
    return result


@contextmanager
def _stand_in_methods() -> Iterator[None]:
    """Lets `super()` in own code call the methods of the stand-in."""
    from waffle.models import AbstractBaseFlag, AbstractUserFlag  # noqa: PLC0415

    def by_lists(row: Any, user: Any) -> Any:
        result = super(AbstractUserFlag, row).is_active_for_user(user)
        return contract.is_active_by_lists(row, user, result)

    with (
        patch.multiple(AbstractBaseFlag, create=True, **contract.METHODS),
        patch.multiple(AbstractUserFlag, is_active_for_user=by_lists),
    ):
        yield


def _our_result(key: str, person: Person, our_snapshot: Snapshot) -> tuple[bool | None, int | None]:
    """Returns a result of ours, None if a percentage decides, and the percentage of the flag."""
    # Without a visitor, so that no percentage of visitors decides.
    context = {"visitor": None} | ({LANGUAGE_ATTRIBUTE: person.language} if person.language else {})
    explanation = explanation_of(
        Explanation, key, our_snapshot.explain(key, person.user, context=context)
    )
    by_percentage = explanation.rule is not None or 0 < (explanation.rollout_percent or 0) < _ALL
    is_certain = explanation.reason not in {"SPLIT", "DEFAULT"} or not by_percentage
    return explanation.value if is_certain else None, explanation.rollout_percent


def _people(count: int, groups: list[str]) -> Iterator[Person]:
    """Yields an anonymous visitor, and users. Makes few queries, and one for each group."""
    model: Any = get_user_model()
    names = {field.name for field in model._meta.get_fields()}
    rows = model._base_manager.using(router.db_for_write(model)).order_by("pk")
    rows = rows.prefetch_related("groups") if "groups" in names else rows
    special: dict[str, dict[str, object]] = {
        "staff": {"is_staff": True, "is_superuser": False},
        "superuser": {"is_superuser": True},
    }
    special |= {f"in group {name}": {"groups__name": name} for name in groups}
    by_pk = {user.pk: (user, [f"user {user.pk}"]) for user in _spread(rows, count)}
    for text, filters in special.items():
        if {name.partition("__")[0] for name in filters} <= names:
            for user in rows.filter(**filters)[:1]:
                _, texts = by_pk.setdefault(user.pk, (user, [f"user {user.pk}"]))
                texts.append(text)
    yield Person("anonymous")
    for _pk, (user, texts) in sorted(by_pk.items()):
        of_user = [group.name for group in user.groups.all()] if "groups" in names else []
        yield Person(", ".join(texts), user, of_user)


def _spread(rows: Any, count: int) -> Any:
    """Returns at most `count` rows, evenly over all of them by primary key."""
    total = rows.count()
    if total <= count:
        return rows
    numbered = rows.annotate(flagstaff_place=Window(RowNumber(), order_by="pk"))
    spread = numbered.annotate(flagstaff_spread=Mod(F("flagstaff_place") * count, total))
    return spread.filter(flagstaff_spread__lt=count)
