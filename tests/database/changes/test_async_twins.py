"""The functions of `changes` for async code: as the sync ones, in the thread of Django's ORM."""

import inspect
from types import ModuleType
from typing import Any

import pytest
from asgiref.sync import async_to_sync
from django.contrib.auth.models import User

from flagstaff import acting_as, changes
from flagstaff.exceptions import InvalidChangeError, UnknownFlagError
from flagstaff.models import Change, FeatureFlag, KeyValueStore, Segment
from tests.support.shop import STAFF, Shop
from tests.support.sql import rolled_back


@pytest.mark.parametrize("module", [changes.flags, changes.values, changes.segments])
def test_each_function_has_a_twin_with_its_signature(module: ModuleType) -> None:
    functions = [name for name in module.__all__ if f"a{name}" in module.__all__]
    assert sorted(module.__all__) == sorted([*functions, *(f"a{name}" for name in functions)])
    for name in functions:
        function, twin = getattr(module, name), getattr(module, f"a{name}")
        assert inspect.isfunction(function)
        assert inspect.iscoroutinefunction(twin)
        assert twin.__name__ == f"a{name}"
        assert inspect.signature(twin) == inspect.signature(function)
        assert function.__doc__
        assert twin.__doc__ == function.__doc__


async def change_flag(user: User) -> Any:
    await changes.flags.acreate("banner", description="Old", rollout_percent=5)
    await changes.flags.aenable("banner")
    await changes.flags.aallow("banner", user)
    return await changes.flags.aupdate("banner", description="New")


def test_twins_write_what_the_functions_write(shop: Shop) -> None:
    alice = shop.user("alice")
    changed = async_to_sync(change_flag)(alice)
    assert (changed.old, changed.new) == ({"description": "Old"}, {"description": "New"})
    flag = FeatureFlag.objects.get()
    assert (flag.enabled, flag.rollout_percent, flag.description) == (True, 5, "New")
    assert [*flag.allowed_users.all()] == [alice]
    async_to_sync(changes.values.acreate)("page_size", 20, type="integer")
    async_to_sync(changes.values.aset)("page_size", 25)
    async_to_sync(changes.segments.acreate)("staff", [STAFF], description="Ours")
    assert (KeyValueStore.objects.get().value, Segment.objects.get().description) == (25, "Ours")


def test_twins_raise_what_the_functions_raise() -> None:
    with pytest.raises(UnknownFlagError):
        async_to_sync(changes.flags.aenable)("missing")
    with pytest.raises(InvalidChangeError):
        async_to_sync(changes.flags.acreate)("banner", rollout_percent=101)


def test_twins_are_in_the_transaction_of_the_caller_and_have_its_attribution(shop: Shop) -> None:
    with acting_as("deploy", reason="release 42"):
        async_to_sync(change_flag)(shop.user("alice"))
    entries = Change.objects.values_list("actor", "reason", "transaction_id")
    [(actor, reason, _transaction)] = {*entries}
    assert (actor, reason) == ("deploy", "release 42")
    with rolled_back():
        async_to_sync(changes.flags.adelete)("banner")
    assert FeatureFlag.objects.get().key == "banner"


def test_undo_of_entries_has_a_twin(shop: Shop) -> None:
    async_to_sync(change_flag)(shop.user("alice"))
    newest = Change.objects.latest("id")
    [preview] = async_to_sync(changes.apreview_undo)([newest])
    assert FeatureFlag.objects.get().description == "New"
    [undone] = async_to_sync(changes.aundo)([newest])
    assert preview.changed == undone.changed
    assert FeatureFlag.objects.get().description == "Old"
