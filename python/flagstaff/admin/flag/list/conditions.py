"""Conditions of flags in SQL, for the filters, the shortcuts and the order of the list."""

from __future__ import annotations

from datetime import datetime, timedelta
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
from django.db.models.functions import Cast, Coalesce
from django.db.models.lookups import LessThan
from django.http import HttpRequest

from flagstaff._connection.vendor import is_postgresql
from flagstaff._tables.flag_states import ReleaseState
from flagstaff._tables.model_fields import through_model
from flagstaff._tables.names import own_names
from flagstaff._tables.optional_fields import OWNER, RULES, WITHOUT_RULES, FlagModel
from flagstaff._tables.rows import all_rows
from flagstaff.changes.allowed_users import ALLOWED
from flagstaff.conf import conf
from flagstaff.history.kinds import Kind
from flagstaff.history.versions import all_entries
from flagstaff.models import Change

#: The states of the list, most interesting first.
STATES = (
    *(
        ReleaseState.ROLLOUT.value,
        ReleaseState.BY_RULES.value,
        ReleaseState.ALLOWED_USERS.value,
        ReleaseState.ALL.value,
    ),
    *(ReleaseState.NO_USERS.value, ReleaseState.OFF.value),
)
#: A long time, in days, for flags that nobody changes or evaluates.
LONG = 30
_ALL_USERS = 100
_LAST = (
    "(SELECT u.last_evaluated_at FROM {usage_table} AS u WHERE u.key OPERATOR(pg_catalog.=) "
    "%(expressions)s ORDER BY u.hour DESC, u.last_evaluated_at DESC LIMIT 1)"
)
# Of the key and, where there is a time, of the time before the first hour, and the time itself.
_EVALUATED = (
    "EXISTS (SELECT FROM {usage_table} AS u WHERE u.key OPERATOR(pg_catalog.=) ",
    " AND u.hour OPERATOR(pg_catalog.>) ",
    " AND u.last_evaluated_at OPERATOR(pg_catalog.>=) ",
)
_COUNT = "(SELECT pg_catalog.count(*) FROM {})"
_FIRST = "(SELECT pg_catalog.min(hour) FROM {usage_table})"
_HIDDEN = (
    "(SELECT pg_catalog.count(*) FROM pg_catalog.unnest(ARRAY[%(expressions)s]::text[]) AS t "
    "WHERE pg_catalog.row_security_active(t))"
)


def in_state(model: type[Model], state: str) -> Q:
    """Returns the condition of the flags whose label is that of this state."""
    # A project's own column may be NULL.
    if state == ReleaseState.OFF.value:
        return Q(enabled=False) | Q(enabled=None)
    enabled, ruled = Q(enabled=True), with_rules(model)
    if state == ReleaseState.BY_RULES.value:
        return enabled & ruled
    enabled &= ~ruled
    if state == ReleaseState.ALL.value:
        return enabled & Q(rollout_percent__gte=_ALL_USERS)
    if state == ReleaseState.ROLLOUT.value:
        return enabled & Q(rollout_percent__gt=0, rollout_percent__lt=_ALL_USERS)
    has_users = Q(Exists(_links_of_flag(model)))
    at_zero = enabled & Q(rollout_percent__lte=0)
    return at_zero & (has_users if state == ReleaseState.ALLOWED_USERS.value else ~has_users)


def with_rules(model: type[Model]) -> Q:
    """Returns the condition of the flags that have rules."""
    return ~WITHOUT_RULES if FlagModel.of(model).has(RULES) else Q(pk__in=[])


def state_rank(model: type[Model]) -> Case:
    """Returns the place of a flag's state among the states, to sort by."""
    *ranked, last = STATES
    ranks = [When(in_state(model, state), then=Value(rank)) for rank, state in enumerate(ranked)]
    return Case(*ranks, default=Value(STATES.index(last)), output_field=IntegerField())


def allowed_count(model: type[Model]) -> Coalesce:
    """Returns the number of allowed users of a flag."""
    # Not a join, which the queries that count the rows of the list would make, too.
    flag = _allowed(model).m2m_field_name()
    of_flag = _links_of_flag(model).order_by().values(flag)
    return Coalesce(Subquery(of_flag.annotate(number=Count("pk")).values("number")), 0)


def changed_since(model: type[Model], since: datetime) -> Q:
    """Returns the condition of the flags that were changed since a time, by SQL too."""
    changed = Q(changed_at__gte=since) if FlagModel.of(model).has("changed_at") else Q(pk__in=[])
    if not is_postgresql(connections[conf.database]):
        return changed
    first = Subquery(all_rows(Change).filter(at__gte=since).order_by("at").values("id")[:1])
    # In this form, the server looks up each flag if there are many changes since.
    of_flag = all_entries().filter(
        relation__in=Kind.FLAG.relations, object_pk=Cast(OuterRef("pk"), TextField())
    )
    return changed | Q(Exists(of_flag.filter(id__gte=first)))


class _WasEvaluated(Func):
    """Whether a flag was evaluated since a time, or ever. Only on PostgreSQL."""

    conditional = True

    def __init__(self, since: datetime | None) -> None:
        times = () if since is None else (since - timedelta(hours=1), since)
        super().__init__(F("key"), *map(Value, times), output_field=BooleanField())

    def as_sql(  # type: ignore[override]
        self, compiler: Any, connection: Any, **_context: Any
    ) -> tuple[str, tuple[Any, ...]]:
        """Returns the statement and its parameters."""
        text = ""
        parameters: tuple[Any, ...] = ()
        for before, expression in zip(_EVALUATED, self.source_expressions, strict=False):
            sql, values = compiler.compile(expression)
            text += _of_usage(before) + sql
            parameters += tuple(values)
        return f"{text})", parameters


class _DifferentValues(Aggregate):
    """The different values of all flags as a list in JSON. Only on PostgreSQL."""

    function = "pg_catalog.jsonb_agg"
    allow_distinct = True


def stored_values(name: str, empty: object) -> Aggregate:
    """Returns the different values of a field of all flags, except one, as the text of JSON."""
    # Read with the counts, in one pass over the flags.
    return _DifferentValues(
        F(name), distinct=True, filter=~Q(**{name: empty}), output_field=TextField()
    )


def last_evaluation() -> Func:
    """Returns the time of a flag's last evaluation; NULL without one. Only on PostgreSQL."""
    return Func(F("key"), template=_of_usage(_LAST), output_field=DateTimeField())


def usage_since() -> Func:
    """Returns the oldest hour in which an evaluation was counted. Only on PostgreSQL."""
    return Func(template=_of_usage(_FIRST), output_field=DateTimeField())


def hidden_tables() -> Func:
    """Returns how many of flagstaff's tables may hide rows from this role. Fails without one."""
    names = own_names(connections[conf.database])
    tables = (names[table] for table in ("change_table", "usage_table", "worker_table"))
    return Func(*map(Value, tables), template=_HIDDEN, output_field=IntegerField())


def not_evaluated_since(model: type[Model], since: datetime | None) -> Q:
    """Returns the condition of the flags without a counted evaluation since a time, or ever.

    Flags for browsers are left out, because those evaluations are not counted, and flags that
    were created since.
    """
    condition, fields = Q(), FlagModel.of(model).fields
    if "client_side" in fields:
        condition &= Q(client_side=False)
    if since is not None and "created_at" in fields:
        condition &= Q(created_at__lt=since)
    # Last, because PostgreSQL evaluates the cheap conditions first.
    return condition & ~Q(_WasEvaluated(since))


def are_at_most(model: type[Model], count: int) -> Q:
    """Returns the condition, the same for all flags, that there are no more than this number."""
    table = connections[conf.database].ops.quote_name(model._meta.db_table)
    number = Func(template=_COUNT.format(table.replace("%", "%%")), output_field=IntegerField())
    return Q(LessThan(number, Value(count + 1)))


def usage_is_older_than(time: datetime) -> Q:
    """Returns the condition, the same for all flags, that usage was counted before a time."""
    return Q(LessThan(usage_since(), Value(time)))


def owned_by(request: HttpRequest) -> Q:
    """Returns the condition of the flags whose owner is the user, without regard to case."""
    return Q(**{f"{OWNER}__iexact": request.user.get_username()})


def has_usage() -> bool:
    """Whether evaluations can be counted. Does not query."""
    return conf.usage_interval != 0 and is_postgresql(connections[conf.database])


def _of_usage(template: str) -> str:
    quoted = own_names(connections[conf.database])["usage_table"]
    return template.format(usage_table=quoted.replace("%", "%%"))


def _allowed(model: type[Model]) -> ManyToManyField[Model, Model]:
    return cast("ManyToManyField[Model, Model]", model._meta.get_field(ALLOWED))


def _links_of_flag(model: type[Model]) -> QuerySet[Model]:
    """The rows of the table between flags and users that are about the flag of the query."""
    field = _allowed(model)
    links = through_model(field)._base_manager
    return links.filter(**{field.m2m_field_name(): OuterRef("pk")})
