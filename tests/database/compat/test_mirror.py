"""What changes in waffle's tables is written here, and nothing else."""

from __future__ import annotations

from typing import Any

import pytest
from django.contrib.auth.models import Group, User
from django.core import serializers
from django.core.management import call_command
from django.db import DatabaseError, transaction
from waffle.models import Flag, Sample, Switch

from flagstaff import changes
from flagstaff._attribution.writes import acting_as
from flagstaff.compat.mirror_context import evaluating
from flagstaff.compat.models import WaffleRow
from flagstaff.history import flag_history
from flagstaff.models import FeatureFlag
from tests.support.mirrored_rows import allowed, flag_of, new_flag, new_switch, problem, served
from tests.support.sql import rows, without_table

pytestmark = pytest.mark.django_db


def test_new_switch_becomes_a_flag() -> None:
    Switch.objects.create(name="search", active=True, note="the new index")
    flag = flag_of("search")
    assert (flag.enabled, flag.rollout_percent, flag.kind) == (True, 100, "ops")
    assert flag.description == "the new index"


def test_new_sample_becomes_a_flag() -> None:
    Sample.objects.create(name="traces", percent="12.0")
    flag = flag_of("traces")
    assert (flag.enabled, flag.rollout_percent, flag.bucket_by) == (True, 12, "waffle_sample")


def test_new_flag_becomes_a_flag_with_rules() -> None:
    new_flag("checkout", percent="20", superusers=True, staff=True)
    flag = flag_of("checkout")
    assert (flag.enabled, flag.rollout_percent, flag.bucket_by) == (True, 20, "visitor")
    assert [rule["name"] for rule in flag.rules] == ["staff", "superusers"]


def test_kill_in_waffle_turns_the_flag_off() -> None:
    row = new_flag("checkout", everyone=True)
    row.everyone = False
    row.save()
    assert not flag_of("checkout").enabled


def test_mirror_keeps_fields_that_were_changed_here() -> None:
    row = new_flag("checkout", percent="20")
    changes.update("checkout", {"rollout_percent": 55, "owner": "payments"})
    row.note = "see the wiki"
    row.save()
    flag = flag_of("checkout")
    assert (flag.rollout_percent, flag.owner) == (55, "payments")
    assert flag.description == "see the wiki"


def test_mirror_keeps_allowed_users_that_were_added_here(alice: User, bob: User) -> None:
    row = new_flag("checkout")
    changes.add_allowed_users("checkout", alice)
    row.users.add(bob)
    assert allowed("checkout") == {"alice", "bob"}
    row.users.remove(bob)
    assert allowed("checkout") == {"alice"}


def test_kill_here_survives_other_changes_in_waffle(bob: User) -> None:
    row = new_flag("checkout", percent="20")
    changes.disable("checkout")
    row.percent = 40
    row.save()
    row.users.add(bob)
    flag = flag_of("checkout")
    assert (flag.enabled, flag.rollout_percent) == (False, 40)


def test_repeated_kill_in_waffle_turns_off_what_was_turned_on_here() -> None:
    row = new_switch("search", active=False)
    changes.enable("search")
    row.save()
    assert not flag_of("search").enabled


def test_save_of_other_columns_is_no_kill() -> None:
    row = new_switch("search", active=False)
    changes.enable("search")
    row.note = "an index"
    row.save(update_fields=["note"])
    flag = flag_of("search")
    assert (flag.enabled, flag.description) == (True, "an index")


def test_save_of_one_column_writes_what_the_table_has() -> None:
    row = new_flag("checkout", percent="20", note="first")
    row.everyone, row.note, row.percent = False, "not saved", 90
    row.save(update_fields=["everyone"])
    flag = flag_of("checkout")
    assert (flag.enabled, flag.rollout_percent, flag.description) == (False, 20, "first")


def test_history_has_the_source_waffle_with_the_actor_and_the_reason(alice: User) -> None:
    row = new_switch("search", active=True)
    with acting_as(alice, reason="too slow", source="admin"):
        row.active = False
        row.save()
    newest = flag_history("search")[0]
    assert (newest.source, newest.actor, newest.reason) == ("waffle", str(alice.pk), "too slow")


def test_mirror_can_be_switched_off(settings: Any) -> None:
    row = new_switch("search", active=True)
    settings.FLAGSTAFF = {**settings.FLAGSTAFF, "WAFFLE": {"MIRROR": False}}
    row.active = False
    row.save()
    new_flag("checkout").users.clear()
    row.delete()
    assert flag_of("search").enabled
    assert not FeatureFlag.objects.filter(key="checkout").exists()


def test_rows_of_an_evaluation_are_not_mirrored() -> None:
    with evaluating():
        new_switch("search", active=True)
    assert not FeatureFlag.objects.exists()
    assert not WaffleRow.objects.exists()


def test_flag_of_another_origin_is_not_touched() -> None:
    changes.create("search", enabled=True, rollout_percent=5)
    new_switch("search", active=False)
    flag = flag_of("search")
    assert (flag.enabled, flag.rollout_percent) == (True, 5)
    assert "flag 'search' exists already" in problem("search")


def test_flag_and_switch_of_one_name_do_not_share_a_flag() -> None:
    new_flag("search", everyone=True)
    new_switch("search", active=False)
    assert flag_of("search").enabled
    assert "KEYS" in WaffleRow.objects.get(kind="switch").problem


def test_key_of_the_settings_is_used(settings: Any) -> None:
    keys = {"switch:search": "search.switch"}
    settings.FLAGSTAFF = {**settings.FLAGSTAFF, "WAFFLE": {"KEYS": keys}}
    new_switch("search", active=True)
    assert flag_of("search.switch").enabled


def test_next_success_clears_the_problem() -> None:
    flag = changes.create("search").key
    row = new_switch("search", active=True)
    assert problem("search")
    changes.delete(flag)
    row.save()
    assert not problem("search")
    assert flag_of("search").enabled


def test_flag_that_was_deleted_here_stays_deleted() -> None:
    row = new_switch("search", active=True)
    changes.delete("search")
    row.save()
    assert not FeatureFlag.objects.exists()
    assert problem("search") == "flag 'search' was deleted in flagstaff"


def test_rollback_leaves_nothing_of_the_mirror() -> None:
    with transaction.atomic():
        new_switch("search", active=True)
        transaction.set_rollback(True)
    assert not FeatureFlag.objects.exists()
    assert not WaffleRow.objects.exists()


def test_rollback_to_a_savepoint_takes_the_change_back() -> None:
    row = new_switch("search", active=True)
    with transaction.atomic():
        with transaction.atomic():
            row.active = False
            row.save()
            transaction.set_rollback(True)
        assert flag_of("search").enabled
    row.refresh_from_db()
    row.save()
    assert flag_of("search").enabled
    row.active = False
    row.save()
    assert not flag_of("search").enabled


def test_loaded_fixture_is_mirrored(alice: User, tmp_path: Any) -> None:
    group = Group.objects.create(name="testers")
    row = Flag(pk=7, name="checkout", everyone=None)
    document = serializers.serialize("json", [row])
    users = f'"users": [{alice.pk}], "groups": [{group.pk}]'
    file = tmp_path / "flags.json"
    file.write_text(document.replace('"groups": [], "users": []', users))
    call_command("loaddata", str(file), verbosity=0)
    assert allowed("checkout") == {"alice"}
    assert flag_of("checkout").rules[-1]["conditions"][0]["values"] == ["testers"]


def test_table_that_is_not_migrated_does_not_stop_waffle(caplog: Any) -> None:
    with without_table("flagstaff_compat_wafflerow"):
        new_switch("search", active=True)
    assert Switch.objects.get().active
    assert not FeatureFlag.objects.exists()
    assert "to the flag 'search': a table is missing; run manage.py migrate" in caplog.text


def test_error_of_the_database_names_the_flag_that_is_served(settings: Any) -> None:
    row = new_switch("search", active=True)
    served(settings, "search")
    rows("ALTER TABLE flagstaff_featureflag ADD CONSTRAINT on_only CHECK (enabled)")
    row.active = False
    with pytest.raises(Exception, match="switch 'search' was not saved") as raised:
        row.save()
    assert not isinstance(raised.value, DatabaseError)
    assert Switch.objects.get().active
