"""How often the results of waffle and flagstaff differed, added up over days."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from datetime import timezone as fixed_timezone
from itertools import groupby
from operator import itemgetter
from typing import Any

from django.db import connections
from django.db.models import Model, QuerySet, Value
from django.utils import timezone

from flagstaff._connection.vendor import is_postgresql
from flagstaff._tables.rows import uncached
from flagstaff._tables.user_lookup import batches
from flagstaff._words.message import Message, Template
from flagstaff._words.message import marked as _
from flagstaff._words.times import aware
from flagstaff._workers.overview import worker_overview
from flagstaff.compat.causes import URGENT, Cause
from flagstaff.compat.models import Difference, WaffleRow
from flagstaff.compat.settings import waffle_settings
from flagstaff.conf import conf

#: The days for which the rows are kept, and those that are shown by default.
DAYS, SHOWN_DAYS = 30, 7

_NOT_POSTGRESQL = Template(
    "compared_not_postgresql",
    _("Nothing was compared: this needs PostgreSQL, where workers evaluate from memory."),
)
_NO_SHADOW = Template(
    "compared_no_shadow", _('Nothing is compared: SHADOW is 0 in FLAGSTAFF["WAFFLE"].')
)
_ALL_SERVED = Template(
    "compared_all_served",
    _('Nothing is compared: SERVE is True in FLAGSTAFF["WAFFLE"], so waffle evaluates nothing.'),
)
_NO_WORKER = Template(
    "compared_no_worker",
    _(
        "Nothing was compared, and no worker is connected. Start the server with this version of "
        "the project."
    ),
)
_NOTHING = Template(
    "compared_nothing",
    _(
        "Nothing was compared. Workers compare what waffle evaluates, and write their counts after "
        "some seconds."
    ),
)


@dataclass
class Found:
    """Evaluations with the same two results and the same cause."""

    kind: str
    name: str
    cause: Cause
    waffle: bool
    flagstaff: bool
    last_day: date
    count: int = 0
    #: An example, of the newest day that has one.
    user_pk: str = ""
    path: str = ""
    #: The evaluations of the name with equal results.
    equal: int = 0


@dataclass(frozen=True)
class Differences:
    """What was compared since a day."""

    #: Those that must be looked at are first, then the most frequent.
    found: list[Found] = field(default_factory=list)
    #: The numbers of equal results, by kind and name.
    equal: Counter[tuple[str, str]] = field(default_factory=Counter)
    #: Rows of waffle whose last change could not be written here.
    problems: list[WaffleRow] = field(default_factory=list)

    @property
    def evaluations(self) -> int:
        """How many evaluations were compared."""
        return self.equal.total() + sum(one.count for one in self.found)

    @property
    def urgent(self) -> list[Found]:
        """The differences that must be looked at."""
        return [one for one in self.found if one.cause in URGENT]


def utc_day(at: datetime) -> date:
    """Returns the day of a time as the table has it."""
    return aware(at).astimezone(fixed_timezone.utc).date()


def days_ago(days: int) -> date:
    """Returns the day so many days ago as the table has it."""
    return utc_day(timezone.now() - timedelta(days=days))


def read_differences(since: date) -> Differences:
    """Returns what was compared since a day. Makes two queries."""
    found: dict[tuple[str, str, str, bool, bool], Found] = {}
    equal: Counter[tuple[str, str]] = Counter()
    for row in _rows(Difference).filter(day__gte=since).order_by("-day"):
        if row.cause == Cause.EQUAL.value:
            equal[row.kind, row.name] += row.count
            continue
        place = (row.kind, row.name, row.cause, row.waffle, row.flagstaff)
        one = found.setdefault(place, Found(row.kind, row.name, _cause(row), *place[3:], row.day))
        one.count += row.count
        if not one.path and not one.user_pk:
            one.user_pk, one.path = row.user_pk, row.path
    for one in found.values():
        one.equal = equal[one.kind, one.name]
    order = [*Cause]
    listed = sorted(
        found.values(),
        key=lambda one: (order.index(one.cause), -one.count, one.kind, one.name, one.waffle),
    )
    problems = _rows(WaffleRow).exclude(problem="").order_by("kind", "name")
    return Differences(listed, equal, [*problems])


def why_nothing() -> Message:
    """Returns why nothing was compared. Makes a query."""
    connection = connections[conf.database]
    settings = waffle_settings()
    if not is_postgresql(connection):
        return _NOT_POSTGRESQL()
    if not settings.shadow:
        return _NO_SHADOW()
    if settings.serve is True:
        return _ALL_SERVED()
    if not worker_overview(connection).workers:
        return _NO_WORKER()
    return _NOTHING()


def urgent_names(since: date) -> dict[tuple[str, str], bool]:
    """Returns the kinds and names that must be looked at, and whether a change was not mirrored.

    Makes one query.
    """
    causes = [cause.value for cause in URGENT]
    urgent = _rows(Difference).filter(day__gte=since, cause__in=causes)
    problems = _rows(WaffleRow).exclude(problem="")
    columns = ("kind", "name", "is_missing")
    found, missing = (
        rows.order_by().annotate(is_missing=Value(is_missing)).values_list(*columns)
        for rows, is_missing in ((urgent, False), (problems, True))
    )
    # Without an order: the union would have that of the model, whose columns it lacks.
    either = found.union(missing).order_by()
    return {(kind, name): is_missing for kind, name, is_missing in sorted(either)}


def prune_in_batches(before: datetime) -> Iterator[int]:
    """Deletes the rows of days before a time, and yields the number of each batch."""
    rows = Difference._base_manager.using(conf.database)
    deleted, _by_model = rows.filter(day__lt=utc_day(before)).delete()
    yield deleted


def forget_missing_flags(names: Iterable[tuple[str, str]]) -> None:
    """Deletes what was compared before these names, each with its kind, had a flag."""
    missing = Difference._base_manager.using(conf.database).filter(cause=Cause.NO_FLAG.value)
    for kind, of_kind in groupby(sorted(names), key=itemgetter(0)):
        for batch in batches([name for _kind, name in of_kind]):
            missing.filter(kind=kind, name__in=batch).delete()


def forget_user(pk: str) -> None:
    """Removes a user from the examples, with the path, and from the users that were written.

    To be called in a transaction.
    """
    rows = Difference._base_manager.using(conf.database)
    rows.filter(user_pk=pk).update(user_pk="", path="")
    written = WaffleRow._base_manager.using(conf.database).select_for_update()
    for row in written.filter(users__contains=[pk]).order_by("pk"):
        row.users.remove(pk)
        row.save(update_fields=["users"])


def _rows(model: type[Model]) -> QuerySet[Any]:
    return uncached(model._base_manager.using(conf.database).all())


def _cause(row: Difference) -> Cause:
    """Returns the cause, or OTHER for a cause that a newer version has written."""
    try:
        return Cause(row.cause)
    except ValueError:
        return Cause.OTHER
