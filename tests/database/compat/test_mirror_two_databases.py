"""Waffle's tables in another database: the flags are written after the commit."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.core.cache import cache
from django.db import connections, transaction
from django.db.models import Model
from django.db.models.signals import post_save
from waffle import switch_is_active
from waffle.models import Flag, Switch

from flagstaff import changes
from flagstaff.compat.mirrored import WaffleMirrorError
from flagstaff.compat.models import WaffleRow
from flagstaff.models import FeatureFlag
from tests.support.mirrored_rows import allowed, is_on, new_flag, new_switch, problem, served

ALIAS = "elsewhere"

pytestmark = pytest.mark.django_db(transaction=True, databases=["default", ALIAS])


class WaffleElsewhere:
    """Reads and writes waffle's models over another connection."""

    def db_for_read(self, model: type[Model], **hints: object) -> str | None:
        return ALIAS if model._meta.app_label == "waffle" else None

    db_for_write = db_for_read

    def allow_relation(self, *rows: Model, **hints: object) -> bool:
        return True


@pytest.fixture(scope="module", autouse=True)
def elsewhere(django_db_setup: None) -> Iterator[None]:
    """A second connection. Its transactions are not those of the flags."""
    connections.settings[ALIAS] = {**connections.settings["default"]}
    yield
    connections[ALIAS].close()
    del connections[ALIAS], connections.settings[ALIAS]


@pytest.fixture(autouse=True)
def router(settings: Any) -> None:
    settings.DATABASE_ROUTERS = [WaffleElsewhere()]


def test_change_is_written_after_the_commit() -> None:
    with transaction.atomic(using=ALIAS):
        new_switch("search", active=True)
        assert not FeatureFlag.objects.exists()
    assert is_on("search")


def test_rolled_back_change_is_not_written() -> None:
    with transaction.atomic(using=ALIAS):
        with transaction.atomic(using=ALIAS):
            new_switch("search", active=True)
            transaction.set_rollback(True, using=ALIAS)
        new_switch("chat", active=True)
    assert list(FeatureFlag.objects.values_list("key", flat=True)) == ["chat"]


def test_relations_are_written_after_the_commit(alice: Any) -> None:
    flags = [new_flag("checkout"), new_flag("search")]
    with transaction.atomic(using=ALIAS):
        alice.flag_set.add(*flags)
        assert allowed("checkout") == set()
    assert (allowed("checkout"), allowed("search")) == ({"alice"}, {"alice"})
    alice.flag_set.clear()
    assert (allowed("checkout"), allowed("search")) == (set(), set())


def test_row_that_is_replaced_in_one_transaction_keeps_its_flag(alice: User) -> None:
    row = new_flag("checkout", everyone=True)
    with transaction.atomic(using=ALIAS):
        row.delete()
        new_flag("checkout", everyone=False)
    assert FeatureFlag.objects.filter(key="checkout", enabled=False).exists()


def test_deleted_row_is_deleted_after_the_commit() -> None:
    row = new_flag("checkout", everyone=True)
    with transaction.atomic(using=ALIAS):
        row.delete()
        assert is_on("checkout")
    assert not FeatureFlag.objects.exists()


def test_failure_is_stored() -> None:
    changes.create("search")
    new_switch("search", active=True)
    assert "exists already" in problem("search")


def test_failure_of_a_served_flag_is_raised_after_the_commit(settings: Any) -> None:
    served(settings, "search")
    changes.create("search", enabled=True)
    with pytest.raises(WaffleMirrorError, match="was saved in waffle, but has no effect"):
        new_switch("search", active=False)
    assert "exists already" in problem("search")
    assert Switch.objects.exists()


def test_cache_of_waffle_is_flushed_after_the_commit() -> None:
    cache.clear()
    row = new_switch("search", active=True)
    assert switch_is_active("search")
    with transaction.atomic(using=ALIAS):
        row.active = False
        row.save()
        # Another process reads the row that is still committed.
        Switch.get("search")
        cache.set(Switch._cache_key("search"), Switch(pk=row.pk, name="search", active=True))
    assert not switch_is_active("search")


def test_failed_mirror_does_not_leave_the_old_state_in_the_cache_of_waffle(settings: Any) -> None:
    cache.clear()
    row = new_switch("search", active=True)
    assert switch_is_active("search")
    FeatureFlag.objects.all().delete()
    changes.create("search", enabled=True)
    WaffleRow.objects.all().delete()
    served(settings, "search")
    row.active = False
    with pytest.raises(WaffleMirrorError):
        row.save()
    assert not switch_is_active("search")


def test_row_that_is_saved_over_the_connection_of_the_flags_is_written_at_once() -> None:
    with transaction.atomic():
        Switch(name="search", active=True).save(using="default")
        assert is_on("search")


def test_copy_in_a_database_that_waffle_does_not_read_is_not_mirrored(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    archive = {**connections.settings["default"], "NAME": "archive"}
    monkeypatch.setitem(connections.settings, "archive", archive)
    row = Flag(name="checkout", everyone=True)
    post_save.send(Flag, instance=row, using="archive", created=True, update_fields=None)
    assert not FeatureFlag.objects.exists()
