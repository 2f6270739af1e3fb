"""Conditions of flags in SQL, for the filters, the shortcuts and the order of the list."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial
from typing import Any, cast

from django.db import connections
from django.db.models import (
    Aggregate,
    BooleanField,
    Case,
    Count,
    DateTimeField,
    Exists,
    F,
    Func,
    IntegerField,
    ManyToManyField,
    Model,
    OuterRef,
    Q,
    QuerySet,
    Subquery,
    TextField,
    Value,
    When,
)
from django.db.models.expressions import RawSQL
from django.db.models.functions import Cast, Coalesce
from django.db.models.lookups import In, LessThan
from django.http import HttpRequest
from django.utils import timezone

from flagstaff._connection.vendor import is_postgresql
from flagstaff._tables.flag_states import ALL_USERS, FlagState, ReleaseState
from flagstaff._tables.model_fields import OWNER, RULES, through_model
from flagstaff._tables.names import fill, flag_names, own_names
from flagstaff._tables.rows import all_rows
from flagstaff.admin.page import page_of
from flagstaff.changes.allowed_users import ALLOWED
from flagstaff.conf import conf

#: The states of the list, most interesting first.
STATES = (
    ReleaseState.ROLLOUT,
    ReleaseState.BY_RULES,
    ReleaseState.ALLOWED_USERS,
    ReleaseState.ALL,
    ReleaseState.NO_USERS,
    ReleaseState.OFF,
)
#: A long time, in days, for flags that nobody changes or evaluates.
LONG = 30
# The flags whose history has an entry since a time, of themselves or of their allowed users: few
# entries are read, and of many, each flag is looked up. A set that does not depend on the row: else
# the server expects a slow query, and compiles it.
_CHANGED = """
    WITH given (flag_table, since) AS (VALUES (%s::text, %s::timestamptz)),
    few AS MATERIALIZED (
        SELECT c.object_pk, c.relation, c.object_table FROM {change_table} AS c
        WHERE c.at OPERATOR(pg_catalog.>=) (SELECT since FROM given) LIMIT 5000
    )
    SELECT few.object_pk FROM few
    WHERE (SELECT pg_catalog.count(*) FROM few) OPERATOR(pg_catalog.<) 5000
        AND few.relation OPERATOR(pg_catalog.=) ANY (ARRAY['f', 'm']::"char"[])
        AND few.object_table OPERATOR(pg_catalog.=)
            (SELECT pg_catalog.to_regclass(flag_table) FROM given)
    UNION ALL
    SELECT f.{flag_pk}::text FROM {flag_table} AS f
    WHERE (SELECT pg_catalog.count(*) FROM few) OPERATOR(pg_catalog.=) 5000 AND EXISTS (
        SELECT FROM {change_table} AS c
        WHERE c.relation OPERATOR(pg_catalog.=) ANY (ARRAY['f', 'm']::"char"[])
            AND c.object_pk OPERATOR(pg_catalog.=) f.{flag_pk}::text
            AND c.object_table OPERATOR(pg_catalog.=)
                (SELECT pg_catalog.to_regclass(flag_table) FROM given)
            AND c.id OPERATOR(pg_catalog.>=) (
                SELECT n.id FROM {change_table} AS n
                WHERE n.at OPERATOR(pg_catalog.>=) (SELECT since FROM given)
                ORDER BY n.at, n.id LIMIT 1
            )
    )
"""
# Given the key, a time, and the time a day before: "bulk" and "browsers" have the hour of a day.
_WAS_USED = """EXISTS (
    SELECT FROM {usage_table} AS u, (VALUES (%(expressions)s)) AS given (key, since, before)
    WHERE u.key OPERATOR(pg_catalog.=) given.key
        AND u.result OPERATOR(pg_catalog.=)
            ANY (ARRAY['true', 'false', 'unknown', 'bulk', 'browsers'])
        AND u.hour OPERATOR(pg_catalog.>) given.before::timestamptz
        AND u.last_at OPERATOR(pg_catalog.>=) given.since::timestamptz
)"""
_LAST_EVALUATION = """(
    SELECT pg_catalog.max(newest.last_at)
    FROM pg_catalog.unnest(ARRAY['true', 'false', 'unknown']) AS r (result)
    CROSS JOIN LATERAL (
        SELECT u.last_at FROM {usage_table} AS u
        WHERE u.key OPERATOR(pg_catalog.=) %(expressions)s
            AND u.result OPERATOR(pg_catalog.=) r.result
        ORDER BY u.hour DESC LIMIT 1
    ) AS newest
)"""
_FIRST_HOUR = "(SELECT pg_catalog.min(hour) FROM {usage_table})"
_AT_MOST = "NOT EXISTS (SELECT FROM {flag_table} OFFSET %(expressions)s)"
_HIDDEN = (
    "(SELECT pg_catalog.count(*) FROM pg_catalog.unnest(ARRAY[%(expressions)s]::text[]) AS t "
    "WHERE pg_catalog.row_security_active(t))"
)
_OBJECT = "pg_catalog.jsonb_object_agg"
_AT_100 = Q(enabled=True, rollout_percent__gte=ALL_USERS)
WITHOUT_RULES = Q(**{RULES: []})
#: The condition of the flags that all users have and that have no rules.
ALL_WITHOUT_RULES = _AT_100 & WITHOUT_RULES
# Before the first evaluation.
_EVER = timedelta(days=36_500)


@dataclass(frozen=True)
class _Released:
    """The primary keys of the flags that all users have although they have rules."""

    pks: Sequence[Any]


def in_state(request: HttpRequest, model: type[Model], state: ReleaseState) -> Q:
    """Returns the condition of the flags whose label is that of this state, as `state_of`."""
    if state is ReleaseState.OFF:
        return Q(enabled=False)
    if state is ReleaseState.ALL:
        return ALL_WITHOUT_RULES | (_AT_100 & _is_released(request, model))
    if state is ReleaseState.BY_RULES:
        return Q(enabled=True) & ~WITHOUT_RULES & ~_is_released(request, model)
    if state is ReleaseState.ROLLOUT:
        is_partial = Q(enabled=True, rollout_percent__gt=0, rollout_percent__lt=ALL_USERS)
        return is_partial & WITHOUT_RULES
    has_users = Q(Exists(_links_of_flag(model)))
    at_zero = Q(enabled=True, rollout_percent__lte=0) & WITHOUT_RULES
    return at_zero & (has_users if state is ReleaseState.ALLOWED_USERS else ~has_users)


def state_rank(request: HttpRequest, model: type[Model]) -> Case:
    """Returns the place of a flag's state among the states, to sort by."""
    # Each condition is only that of the flags that no earlier one has.
    steps = {
        ReleaseState.OFF: in_state(request, model, ReleaseState.OFF),
        ReleaseState.ALL: in_state(request, model, ReleaseState.ALL),
        ReleaseState.BY_RULES: ~WITHOUT_RULES,
        ReleaseState.ROLLOUT: Q(rollout_percent__gt=0),
        ReleaseState.ALLOWED_USERS: Q(Exists(_links_of_flag(model))),
    }
    ranks = [When(one, then=Value(STATES.index(state))) for state, one in steps.items()]
    last = Value(STATES.index(ReleaseState.NO_USERS))
    return Case(*ranks, default=last, output_field=IntegerField())


def rules_at_100(counted: Q) -> Aggregate:
    """Returns the rules of flags at 100 % by primary key, and whether a condition is true.

    Only on PostgreSQL, as the text of JSON. `keep_released` reads it.
    """
    is_counted = Case(When(counted, then=Value(True)), default=Value(False))  # noqa: FBT003
    return Aggregate(
        Cast(F("pk"), TextField()),
        Func(F(RULES), is_counted, function="pg_catalog.jsonb_build_array"),
        function=_OBJECT,
        filter=_AT_100 & ~WITHOUT_RULES,
        output_field=TextField(),
    )


def keep_released(request: HttpRequest, found: Mapping[str, tuple[object, bool]]) -> int:
    """Keeps which of these flags all users have, and returns how many of them are counted."""
    released = {pk: counted for pk, (rules, counted) in found.items() if _is_whole(rules)}
    page_of(request).keep(_Released([*released]))
    return sum(released.values())


def _is_released(request: HttpRequest, model: type[Model]) -> Q:
    released = page_of(request).once(_Released, partial(_read_released, model))
    return Q(pk__in=released.pks)


def _read_released(model: type[Model]) -> _Released:
    rows = all_rows(model).filter(_AT_100, ~WITHOUT_RULES).order_by().values_list("pk", RULES)
    return _Released([pk for pk, rules in rows if _is_whole(rules)])


def _is_whole(rules: object) -> bool:
    # In Python, because only the parser of the workers knows whether it can read the rules.
    return FlagState(enabled=True, rollout_percent=ALL_USERS, rules=rules).is_for_everybody


def allowed_count(model: type[Model]) -> Coalesce:
    """Returns the number of allowed users of a flag."""
    # Not a join, which the queries that count the rows of the list would make, too.
    flag = _allowed(model).m2m_field_name()
    of_flag = _links_of_flag(model).order_by().values(flag)
    return Coalesce(Subquery(of_flag.annotate(number=Count("pk")).values("number")), 0)


def changed_since(model: type[Model], since: datetime) -> Q:
    """Returns the condition of the flags that were changed since a time, by SQL too."""
    changed = Q(changed_at__gte=since)
    if not is_postgresql(connection := connections[conf.database]):
        return changed
    names = flag_names(connection, model)
    parameters = (names["flag_table"], since)
    found = RawSQL(_filled(_CHANGED, **names), parameters)  # noqa: S611 (names are quoted)
    return changed | Q(In(Cast(F("pk"), TextField()), found))


def not_evaluated_since(since: datetime | None) -> Q:
    """Returns the condition of the flags that were not evaluated since a time, or ever.

    Flags that were served in bulk are left out, because the code may have used their results, and
    flags that were created since.
    """
    condition = Q() if since is None else Q(created_at__lt=since)
    time = since or timezone.now() - _EVER
    # Last, because PostgreSQL evaluates the cheap conditions first.
    before = Value(time - timedelta(days=1))
    return condition & ~_holds(_WAS_USED, F("key"), Value(time), before)


def are_at_most(model: type[Model], count: int) -> Q:
    """Returns the condition, the same for all flags, that there are no more than this number."""
    names = flag_names(connections[conf.database], model)
    return _holds(_AT_MOST, Value(count), **names)


def usage_is_older_than(time: datetime) -> Q:
    """Returns the condition, the same for all flags, that usage was counted before a time."""
    return Q(LessThan(usage_since(), Value(time)))


def owned_by(request: HttpRequest) -> Q:
    """Returns the condition of the flags whose owner is the user, without regard to case."""
    # The first comparison is cheap, and most flags may have no owner.
    return ~Q(**{OWNER: ""}) & Q(**{f"{OWNER}__iexact": request.user.get_username()})


def stored_texts(name: str, empty: object) -> Aggregate:
    """Returns the different values of a field of all flags, except one, as keys of an object.

    Only on PostgreSQL. The object is the text of JSON, as each value that is no text.
    """
    # Read with the counts, in one pass over the flags. DISTINCT would sort all of them.
    return Aggregate(
        Cast(F(name), TextField()),
        Value(True),  # noqa: FBT003
        function=_OBJECT,
        filter=~Q(**{name: empty}),
        output_field=TextField(),
    )


def last_evaluation() -> Func:
    """Returns the time of a flag's last evaluation; NULL without one. Only on PostgreSQL."""
    return Func(F("key"), template=_filled(_LAST_EVALUATION), output_field=DateTimeField())


def usage_since() -> Func:
    """Returns the oldest hour in which an evaluation was counted. Only on PostgreSQL."""
    return Func(template=_filled(_FIRST_HOUR), output_field=DateTimeField())


def hidden_tables() -> Func:
    """Returns how many of flagstaff's tables may hide rows from this role. Fails without one."""
    names = own_names(connections[conf.database])
    tables = (names[table] for table in ("change_table", "usage_table"))
    return Func(*map(Value, tables), template=_HIDDEN, output_field=IntegerField())


def has_usage() -> bool:
    """Whether evaluations can be counted. Does not query."""
    return conf.usage_interval != 0 and is_postgresql(connections[conf.database])


def _holds(template: str, *expressions: F | Value, **names: str) -> Q:
    return Q(Func(*expressions, template=_filled(template, **names), output_field=BooleanField()))


def _filled(template: str, **names: str) -> str:
    """Replaces the names of tables in the template of an expression."""
    tables = own_names(connections[conf.database]) | names
    return fill(template, {name: quoted.replace("%", "%%") for name, quoted in tables.items()})


def _allowed(model: type[Model]) -> ManyToManyField[Model, Model]:
    return cast("ManyToManyField[Model, Model]", model._meta.get_field(ALLOWED))


def _links_of_flag(model: type[Model]) -> QuerySet[Model]:
    """The rows of the table between flags and users that are about the flag of the query."""
    field = _allowed(model)
    links = through_model(field)._base_manager
    return links.filter(**{field.m2m_field_name(): OuterRef("pk")})
