"""Undo after `loaddata`: what a load wrote is no change of a person."""

from pathlib import Path
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.core import serializers
from django.core.management import CommandError, call_command
from django.db import transaction
from django.test import Client

from flagstaff import acting_as, changes
from flagstaff._attribution import attributed, attribution
from flagstaff.changes import undo
from flagstaff.changes.undo import entries_of_transaction
from flagstaff.exceptions import InvalidChangeError
from flagstaff.history import flag_version
from flagstaff.models import Change, FeatureFlag, KeyValueStore
from tests.support.admin_pages import RECENT, page
from tests.support.history import flag_history
from tests.support.shop import Shop
from tests.support.sql import rows

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("sequences")]

KEY = "new_checkout"
ROWS = ("flagstaff.FeatureFlag", "flagstaff.KeyValueStore")
WHOLE = ("auth", "flagstaff.Change", *ROWS)
NO_CHANGE = "the history has no change of new_checkout to undo"


@pytest.fixture(autouse=True)
def flag(shop: Shop) -> None:
    """A flag at 25 % with an allowed user. It was at 10 % and had none."""
    rows("TRUNCATE flagstaff_change RESTART IDENTITY")
    changes.flags.create(KEY, rollout_percent=10)
    changes.flags.allow(KEY, shop.user("alice"))
    changes.flags.set_rollout(KEY, 25)


def state() -> tuple[int, list[str]]:
    [flag] = FeatureFlag.objects.all()
    return flag.rollout_percent, [user.username for user in flag.allowed_users.all()]


def load_into_an_empty_database(path: Path, *labels: str) -> None:
    """Dumps and loads these models; all tables are empty in between."""
    file = str(path / "dump.json")
    call_command("dumpdata", *labels, output=file)
    for model in (FeatureFlag, KeyValueStore):
        model.objects.all().delete()
    rows("TRUNCATE flagstaff_change RESTART IDENTITY")
    call_command("loaddata", file, verbosity=0)


@pytest.mark.parametrize("first", [1, 501])
def test_load_of_a_whole_dump_is_no_newest_change(first: int, tmp_path: Path) -> None:
    # Where retention has deleted the first entries, those of the load are before the others.
    rows("UPDATE flagstaff_change SET id = id + %s", first - 1)
    load_into_an_empty_database(tmp_path, *WHOLE)
    [load] = [event for event in flag_history(KEY) if event.source == "loaddata"]
    assert (load.action, load.added.count) == ("create", 1)
    assert changes.flags.undo(KEY).new == {"rollout_percent": 10}
    # What the load has written neither hides an earlier state, nor ends the row.
    changes.flags.restore(KEY, to=first)
    assert state() == (10, [])
    changes.flags.restore(KEY, to=first + 2)
    assert state() == (25, ["alice"])


def test_undo_of_the_transaction_of_a_load_keeps_the_rows_of_the_history(tmp_path: Path) -> None:
    load_into_an_empty_database(tmp_path, *WHOLE)
    undo(entries_of_transaction(flag_version(KEY) or 0))
    assert state() == (25, ["alice"])


def test_load_of_rows_alone_leaves_nothing_to_undo_but_by_its_version(tmp_path: Path) -> None:
    load_into_an_empty_database(tmp_path, *ROWS)
    with pytest.raises(InvalidChangeError, match=NO_CHANGE):
        changes.flags.undo(KEY)
    assert state() == (25, ["alice"])
    # A person who names the version of a wrong fixture means it.
    changes.flags.undo(KEY, flag_version(KEY))
    assert not FeatureFlag.objects.exists()


def test_undo_since_leaves_out_loads(tmp_path: Path) -> None:
    load_into_an_empty_database(tmp_path, *ROWS)
    call_command("flags", "undo-since", "1h", yes=True, no_wait=True, verbosity=0)
    assert state() == (25, ["alice"])
    changes.flags.set_rollout(KEY, 30)
    call_command("flags", "undo-since", "1h", yes=True, no_wait=True, verbosity=0)
    assert state() == (25, ["alice"])


def test_pages_offer_no_undo_of_a_row_that_a_load_created(
    tmp_path: Path, admin_client: Client
) -> None:
    load_into_an_empty_database(tmp_path, *ROWS)
    pk, version = FeatureFlag.objects.get().pk, flag_version(KEY)
    for url in (f"/admin/flagstaff/featureflag/{pk}/change/", RECENT, f"{RECENT}?transaction=1"):
        html = page(admin_client, url)
        assert "loaddata" in html
        assert f"undo={version}" not in html
        assert "undo=all" not in html


def test_load_over_existing_rows_is_undone_by_its_version_only(tmp_path: Path) -> None:
    file = str(tmp_path / "dump.json")
    call_command("dumpdata", *ROWS, output=file)
    changes.flags.set_rollout(KEY, 50)
    call_command("loaddata", file, verbosity=0)
    assert state() == (25, ["alice"])
    changes.flags.undo(KEY, flag_version(KEY))
    assert state() == (50, ["alice"])


def test_only_what_the_load_writes_is_its_own(tmp_path: Path) -> None:
    file = str(tmp_path / "dump.json")
    call_command("dumpdata", *ROWS, output=file)

    def sources() -> list[str | None]:
        entries = [*Change.objects.order_by("id").values_list("source", flat=True)]
        Change._base_manager.all().delete()
        return entries

    def change(percent: int) -> None:
        changes.flags.set_rollout(KEY, percent)
        changes.flags.allow(KEY, User.objects.create_user(str(User.objects.count())))

    FeatureFlag.objects.all().delete()
    # As a test of a project with `fixtures`, or a data migration.
    with transaction.atomic():
        sources()
        call_command("loaddata", file, verbosity=0)
        assert sources() == ["loaddata", "loaddata"]
        change(99)
        assert sources() == [None, None]
        with pytest.raises(CommandError):
            call_command("loaddata", "missing", verbosity=0)
        change(98)
        assert sources() == [None, None]
    change(97)
    assert sources() == [None, None]
    # Whoever loads with a name has decided it.
    with acting_as("deploy", source="pipeline"):
        call_command("loaddata", file, verbosity=0)
    assert {*sources()} == {"pipeline"}
    change(96)
    assert sources() == [None, None]


def load_in_code(model: type[FeatureFlag | KeyValueStore]) -> None:
    """Saves the rows of a dump, as code does that reads fixtures by itself."""
    dump = serializers.serialize("json", model.objects.all())
    for loaded in serializers.deserialize("json", dump):
        row: Any = loaded.object
        row.description = "loaded"
        loaded.save()


def test_change_in_the_transaction_of_loaded_rows_is_that_of_a_person() -> None:
    with transaction.atomic():
        load_in_code(FeatureFlag)
        assert flag_history(KEY)[0].source == "loaddata"
        changes.flags.set_rollout(KEY, 50)
        assert flag_history(KEY)[0].source is None
    changes.flags.undo(KEY)
    assert state() == (25, ["alice"])


def test_change_after_rows_were_loaded_without_a_transaction_is_that_of_a_person() -> None:
    changes.values.create("page_size", 20)
    # The connection then has no statement that shows the end of the load.
    with attributed(lambda: attribution("deploy")):
        load_in_code(KeyValueStore)
    changes.flags.set_rollout(KEY, 50)
    assert flag_history(KEY)[0].source is None
