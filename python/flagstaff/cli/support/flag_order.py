"""The options of `flags list` that sort, limit and search the flags."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from django.core.management.base import CommandError, CommandParser
from django.db.models import Q

from flagstaff._engine.usage import recent_usage
from flagstaff._tables.optional_fields import flag_model
from flagstaff._words.cells import Column, Record
from flagstaff._words.times import aware
from flagstaff.cli.support.argument_types import count
from flagstaff.cli.support.errors import FAILED, USAGE
from flagstaff.cli.support.time_argument import point_in_time
from flagstaff.cli.support.verb import Options

_CHANGED_AT, _LAST_EVALUATED = "changed_at", "last_evaluated_at"
#: Only the records of `--sort evaluated` have it.
EVALUATED = Column(_LAST_EVALUATED, header="LAST EVALUATED")


def add_order(parser: CommandParser) -> None:
    """Adds --sort, --limit, --search and --changed-since."""
    parser.add_argument(
        "--sort",
        choices=("key", "changed", "rollout", "evaluated"),
        default="key",
        help="the order: by key, or first the newest change, the highest rollout or the newest "
        "evaluation",
    )
    parser.add_argument("--limit", type=count(1), metavar="N", help="only the first N flags")
    parser.add_argument(
        "--search", metavar="TEXT", help="only flags with TEXT in the key or the description"
    )
    parser.add_argument(
        "--changed-since",
        type=point_in_time,
        metavar="TIME",
        help='only flags that were changed since TIME, such as "1h" or "10:00"',
    )


def order_filter(options: Options) -> Q:
    """Returns the condition of --search and --changed-since. Raises CommandError."""
    condition = Q()
    if (text := options["search"]) is not None:
        condition &= Q(key__icontains=text)
        if flag_model().has("description"):
            condition |= Q(description__icontains=text)
    if (since := options["changed_since"]) is not None:
        _require_changed_at("--changed-since")
        condition &= Q(changed_at__gte=since)
    return condition


def in_order(records: Sequence[Record], options: Options) -> list[Record]:
    """Returns the first records in the wanted order. Queries the usage for `--sort evaluated`."""
    return _ORDERS[options["sort"]](records)[: options["limit"]]


def _by_key(records: Sequence[Record]) -> list[Record]:
    return list(records)


def _by_change(records: Sequence[Record]) -> list[Record]:
    _require_changed_at("--sort changed")
    return _newest_first(records, _CHANGED_AT)


def _by_rollout(records: Sequence[Record]) -> list[Record]:
    return sorted(records, key=lambda record: -(record["rollout_percent"] or 0))


def _by_evaluation(records: Sequence[Record]) -> list[Record]:
    usage = recent_usage([record["key"] for record in records])
    if usage is None:
        raise CommandError(
            "no worker has reported how often flags are evaluated", returncode=FAILED
        )
    times = {key: evaluation.last_evaluated_at for key, evaluation in usage.evaluations.items()}
    with_time = [{**record, _LAST_EVALUATED: times.get(record["key"])} for record in records]
    return _newest_first(with_time, _LAST_EVALUATED)


def _newest_first(records: Sequence[Record], name: str) -> list[Record]:
    # A project's own column may be NULL. Those come last.
    known = [record for record in records if record[name] is not None]
    unknown = [record for record in records if record[name] is None]
    return [*sorted(known, key=lambda record: aware(record[name]), reverse=True), *unknown]


def _require_changed_at(option: str) -> None:
    if not flag_model().has(_CHANGED_AT):
        raise CommandError(
            f"the flag model of this project has no field `{_CHANGED_AT}`, which {option} needs",
            returncode=USAGE,
        )


_ORDERS: dict[str, Callable[[Sequence[Record]], list[Record]]] = {
    "key": _by_key,
    "changed": _by_change,
    "rollout": _by_rollout,
    "evaluated": _by_evaluation,
}
