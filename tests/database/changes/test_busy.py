"""Several changes in one transaction of the caller, beside those of another session.

Two of them can wait for each other: the second change of each waits for a row, or for the lock of
the last comparison, which the first change of the other holds until the end of its transaction.
"""

from collections.abc import Callable
from contextlib import suppress
from functools import partial

import pytest
from django.db import transaction

from flagstaff import changes
from flagstaff.actions import Kind, all_actions
from flagstaff.actions.commit import commit, look_at
from flagstaff.actions.table import Run
from flagstaff.exceptions import BusyError
from flagstaff.models import FeatureFlag
from tests.support.concurrency import in_threads, run_during
from tests.support.fixtures import COMMITTED
from tests.support.shop import Shop
from tests.support.sql import rows

pytestmark = COMMITTED

KEYS = ("dark_mode", "new_checkout", "search_v2")
FIRST, SHARED, LAST = KEYS


@pytest.fixture(autouse=True)
def flags(shop: Shop) -> None:
    for key in KEYS:
        shop.flag(key)


def by_code(key: str, owner: str) -> None:
    changes.flags.update(key, owner=owner)


def by_look(key: str, owner: str) -> None:
    """As in a terminal: the comparison comes last."""
    [details] = (action for action in all_actions(Kind.FLAG) if action.name == "details")
    flag = FeatureFlag.objects.get(key=key)
    commit(look_at(Run(details, [key], [flag], {"owner": owner})))


def by_rules(key: str, owner: str) -> None:
    """Rules that need a flag are compared with those of all others."""
    rules = [{"conditions": [{"flag": "needed", "is": True}]}]
    changes.flags.update(key, owner=owner, rules=rules)


def owners() -> list[str]:
    return [
        *FeatureFlag.objects.filter(key__in=KEYS).order_by("key").values_list("owner", flat=True)
    ]


@pytest.mark.parametrize("is_lock_first", [True, False], ids=["lock first", "row first"])
@pytest.mark.parametrize("change", [by_look, by_rules])
def test_one_of_two_transactions_that_wait_for_each_other_is_busy_and_the_other_is_written(
    change: Callable[[str, str], None], shop: Shop, *, is_lock_first: bool
) -> None:
    """The database ends one of them, whichever it is."""
    shop.flag("needed", rollout_percent=0)
    lock_first = (partial(change, FIRST, "x"), partial(by_code, SHARED, "x"))
    row_first = (partial(by_code, SHARED, "y"), partial(change, LAST, "y"))
    here, there = (lock_first, row_first) if is_lock_first else (row_first, lock_first)

    def write_there() -> bool:
        """Returns whether it was busy."""
        with suppress(BusyError), transaction.atomic():
            for write in there:
                write()
            return False
        return True

    is_busy_here = True
    with suppress(BusyError):
        assert run_during(here[0], write_there, here[1])
        is_busy_here = False
    assert owners() == (["", "y", "y"] if is_busy_here == is_lock_first else ["x", "x", ""])


def test_change_that_is_busy_leaves_the_transaction_around_it_as_it_was() -> None:
    def write_two() -> None:
        with transaction.atomic():
            by_code(FIRST, "z")
            rows("SET LOCAL lock_timeout = '50ms'")
            with suppress(BusyError):
                by_code(SHARED, "z")
            by_code(LAST, "z")

    with transaction.atomic():
        FeatureFlag.objects.filter(key=SHARED).update(description="held")
        in_threads(write_two)
    assert owners() == ["z", "", "z"]
