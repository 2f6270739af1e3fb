"""The bucketing unit of a flag: how it is changed, recorded, exported and described."""

from __future__ import annotations

import json
from typing import Any

import pytest
from django.db import connection
from django.db.models import CharField, Model, TextField

from flagstaff import changes, explain, flag_enabled, serialization
from flagstaff._tables.bucket_units import bucket_unit
from flagstaff.conf import Conf
from flagstaff.exceptions import ConflictError, InvalidChangeError
from flagstaff.history import flag_history, flag_version
from flagstaff.history.describe import describe_change
from flagstaff.models import FeatureFlag
from flagstaff.testing import override_flag
from tests.support.documents import BOTH_FORMATS, Format, export_text, import_problems, import_text
from tests.support.models_of_others import flag_fields, model_of

pytestmark = pytest.mark.django_db
# Each change is a transaction of its own, as in production.
COMMITTED = pytest.mark.django_db(transaction=True)


@pytest.fixture
def flag() -> FeatureFlag:
    return FeatureFlag.objects.create(key="new_checkout", enabled=True, rollout_percent=25)


def set_unit(unit: object) -> changes.Changed:
    return changes.update("new_checkout", {"bucket_by": unit})


def stored_unit() -> str:
    return FeatureFlag.objects.values_list("bucket_by", flat=True).get()


def newest_description() -> str:
    return describe_change(next(iter(flag_history("new_checkout"))))


# Changes.


def test_flag_is_created_with_a_unit() -> None:
    changes.create("new_checkout", bucket_by="organization")
    assert stored_unit() == "organization"


def test_unit_is_updated(flag: FeatureFlag) -> None:
    changed = set_unit("visitor")
    assert (changed.old, changed.new) == ({"bucket_by": "user"}, {"bucket_by": "visitor"})
    assert stored_unit() == "visitor"


def test_update_to_the_same_unit_writes_nothing(flag: FeatureFlag) -> None:
    assert not set_unit("user").written


@pytest.mark.parametrize("unit", ["", None, 5, "groups", " visitor", "x" * 101])
def test_unusable_unit_is_refused(flag: FeatureFlag, unit: object) -> None:
    with pytest.raises(InvalidChangeError) as error:
        set_unit(unit)
    assert "bucketing unit" in str(error.value)
    assert stored_unit() == "user"


def test_unusable_unit_of_a_new_flag_is_refused() -> None:
    with pytest.raises(InvalidChangeError) as error:
        changes.create("new_checkout", bucket_by="is_staff")
    assert str(error.value) == (
        'bucket_by: "is_staff" cannot be the bucketing unit, because it is built in; use "user", '
        '"visitor", or the name of an attribute, such as "organization"'
    )


def test_unit_that_changed_since_it_was_read_is_a_conflict(flag: FeatureFlag) -> None:
    set_unit("visitor")
    with pytest.raises(ConflictError):
        changes.update("new_checkout", {"bucket_by": "plan"}, expect={"bucket_by": "user"})


# A project's own model.


@pytest.fixture
def own_model(monkeypatch: pytest.MonkeyPatch, field: Any) -> type[Model]:
    model: type[Model] = model_of("Switch", flag_fields(bucket_by=field))
    with connection.schema_editor() as editor:
        editor.create_model(model)
    monkeypatch.setattr(Conf, "flag_model", model)
    return model


def stored_by_sql(model: type[Model], unit: str | None) -> Any:
    model._default_manager.create(key="new_checkout")
    with connection.cursor() as cursor:
        cursor.execute(f"UPDATE {model._meta.db_table} SET bucket_by = %s", [unit])
    return model._default_manager.get()


@pytest.mark.parametrize("field", [CharField(max_length=9, null=True, blank=True)])
def test_null_of_a_projects_column_is_the_user(own_model: type[Model]) -> None:
    assert bucket_unit(stored_by_sql(own_model, None)) == "user"
    changes.update("new_checkout", {"bucket_by": "visitor"})
    assert changes.update("new_checkout", {"bucket_by": None}).written


@pytest.mark.parametrize("field", [TextField(default="user")])
def test_projects_column_without_validators_refuses_an_unusable_unit(
    own_model: type[Model],
) -> None:
    changes.create("new_checkout")
    with pytest.raises(InvalidChangeError, match="cannot be the bucketing unit"):
        changes.update("new_checkout", {"bucket_by": "groups"})


@pytest.mark.parametrize("field", [None])
def test_flag_of_a_model_without_the_column_is_bucketed_by_user(own_model: type[Model]) -> None:
    assert bucket_unit(own_model()) == "user"
    changes.create("new_checkout")
    with pytest.raises(InvalidChangeError, match="has no field 'bucket_by' to change"):
        set_unit("visitor")


# The history.


@COMMITTED
def test_history_says_by_what_the_flag_is_bucketed(flag: FeatureFlag) -> None:
    set_unit("visitor")
    assert newest_description() == "bucketed by user → visitor"


def test_history_of_a_new_flag_has_its_unit() -> None:
    changes.create("new_checkout", bucket_by="organization")
    assert "bucketed by organization" in newest_description()


def test_history_of_a_new_flag_that_is_bucketed_by_user_has_no_unit(flag: FeatureFlag) -> None:
    assert "bucketed" not in newest_description()


@COMMITTED
def test_unit_that_no_form_would_accept_is_described_as_json(flag: FeatureFlag) -> None:
    FeatureFlag.objects.update(bucket_by="")
    assert newest_description() == 'bucketed by user → ""'


@COMMITTED
def test_undo_returns_the_unit(flag: FeatureFlag) -> None:
    set_unit("visitor")
    changes.undo("new_checkout")
    assert stored_unit() == "user"


@COMMITTED
def test_restore_returns_the_unit(flag: FeatureFlag) -> None:
    set_unit("visitor")
    version = flag_version("new_checkout")
    set_unit("organization")
    changes.restore("new_checkout", to=version or 0)
    assert stored_unit() == "visitor"


def remove_unit_from_history() -> None:
    """Makes the entries like those of a version without the column."""
    with connection.cursor() as cursor:
        cursor.execute(
            "UPDATE flagstaff_change SET old = old - 'bucket_by', new = new - 'bucket_by'"
        )


@COMMITTED
def test_restore_of_an_entry_without_the_column_keeps_the_unit(flag: FeatureFlag) -> None:
    version = flag_version("new_checkout")
    changes.update("new_checkout", {"bucket_by": "visitor", "rollout_percent": 50})
    remove_unit_from_history()
    changes.restore("new_checkout", to=version or 0)
    assert FeatureFlag.objects.values_list("bucket_by", "rollout_percent").get() == ("visitor", 25)


@COMMITTED
def test_undo_of_a_deletion_without_the_column_creates_a_flag_that_is_bucketed_by_user() -> None:
    changes.create("new_checkout", bucket_by="visitor")
    changes.delete("new_checkout")
    remove_unit_from_history()
    changes.undo("new_checkout")
    assert stored_unit() == "user"


# Tests of projects.


@pytest.mark.parametrize("enabled", [True, False])
def test_override_decides_whatever_the_unit_is(flag: FeatureFlag, enabled: bool) -> None:
    set_unit("visitor")
    with override_flag("new_checkout", enabled):
        assert flag_enabled("new_checkout", 2) is enabled
        assert explain("new_checkout", 2).bucket_by is None


# Export and import.


@BOTH_FORMATS
def test_exported_unit_is_imported(flag: FeatureFlag, format_: Format) -> None:
    set_unit("organization")
    text = export_text(format_)
    set_unit("user")
    import_text(text, format_)
    assert stored_unit() == "organization"


def test_file_without_a_unit_leaves_it_unchanged(flag: FeatureFlag) -> None:
    set_unit("visitor")
    import_text("flagstaff: 1\nflags: {new_checkout: {rollout_percent: 50}}")
    assert stored_unit() == "visitor"


def test_unusable_unit_of_a_file_is_a_problem(flag: FeatureFlag) -> None:
    [problem] = import_problems("flagstaff: 1\nflags: {new_checkout: {bucket_by: groups}}")
    assert "flags.new_checkout.bucket_by" in problem
    assert "cannot be the bucketing unit" in problem


def with_unit(unit: str) -> str:
    return json.dumps({"flagstaff": 1, "flags": {"a": {"bucket_by": unit}}})


@pytest.mark.parametrize("field", [None])
def test_unit_of_a_file_is_a_problem_for_a_model_without_the_column(
    own_model: type[Model],
) -> None:
    [problem] = serialization.read(with_unit("visitor"), "json").problems.found
    assert (problem.path, problem.text) == (
        ("flags", "a", "bucket_by"),
        (
            "the flag model of this project has no column for bucketing units; add the field, or "
            "remove bucket_by from the file"
        ),
    )
    assert not serialization.read(with_unit("user"), "json").problems.found
