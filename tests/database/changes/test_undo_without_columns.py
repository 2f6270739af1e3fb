"""Undo of rows whose old columns no longer fit the table: it names them, and leaves them out."""

import json
from collections.abc import Iterator
from functools import partial
from typing import Any

import pytest
from django.contrib.auth.models import Group
from django.core.management import CommandError, call_command
from django.db import models

from flagstaff import acting_as, changes
from flagstaff._attribution import _watched_tables
from flagstaff.changes import preview_undo
from flagstaff.changes.undo import entries_of_versions
from flagstaff.exceptions import InvalidChangeError
from flagstaff.history import flag_version
from flagstaff.models import Change
from tests.support.models_of_others import flag_model_of, watch
from tests.support.sql import rows
from tests.support.terminals import run

pytestmark = pytest.mark.django_db(transaction=True)

KEY, TABLE = "new_checkout", "common_switch"


@pytest.fixture
def flags(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """A project's own flag, and a group that one of its columns refers to."""
    model = flag_model_of(
        team=models.ForeignKey(Group, models.CASCADE, null=True, blank=True),
        ticket=models.CharField(max_length=20, default="", unique=True),
        stage=models.IntegerField(default=1),
    )
    stage = models.CheckConstraint(condition=models.Q(stage__lte=9), name="known_stage")
    monkeypatch.setattr(model._meta, "constraints", [*model._meta.constraints, stage])
    rows("TRUNCATE flagstaff_change")
    try:
        watch(model, monkeypatch)
        team = Group.objects.create(name="payments", pk=1)
        changes.flags.create(KEY, {"team": team, "ticket": "SHOP-1234567", "stage": 7})
        yield model
    finally:
        # Another test would attribute writes to this table only.
        _watched_tables.cache_clear()
        rows(f"DROP TABLE IF EXISTS {TABLE}, {TABLE}_allowed_users CASCADE")


# The team, the ticket and the stage of the flag.
STORED = f"SELECT team_id, ticket, stage FROM {TABLE} WHERE key = '{KEY}'"
DELETE_TEAM = "DELETE FROM auth_group"
# What happens after the deletion of the flag, the column that does not fit then, the message, and
# the flag without the column.
FITS_NOT = "{field}: .+; to leave it out, pass --without {field}$"
MISFITS: dict[str, tuple[str, str, str, tuple[Any, ...]]] = {
    "the row of a foreign key is gone": (DELETE_TEAM, "team", FITS_NOT, (None, "SHOP-1234567", 7)),
    "the type was another": (
        """UPDATE flagstaff_change SET old = old || '{"stage": "beta"}'""",
        "stage",
        FITS_NOT,
        (1, "SHOP-1234567", 1),
    ),
    "the column is shorter": (
        f"ALTER TABLE {TABLE} ALTER ticket TYPE varchar(5)",
        "ticket",
        FITS_NOT,
        (1, "", 7),
    ),
    # Only the database knows these.
    "the value is another row's": (
        f"UPDATE {TABLE} SET ticket = 'SHOP-1234567' WHERE key = 'other'",
        "ticket",
        "the database rejected .+common_switch_ticket",
        (1, "", 7),
    ),
    "a constraint forbids it": (
        f"ALTER TABLE {TABLE} ADD CONSTRAINT known_stage_2 CHECK (stage <= 5)",
        "stage",
        "the database rejected .+known_stage_2",
        (1, "SHOP-1234567", 1),
    ),
}


@pytest.mark.usefixtures("flags")
@pytest.mark.parametrize(("statement", "field", "message", "after"), MISFITS.values(), ids=MISFITS)
def test_deleted_flag_names_what_does_not_fit_and_returns_without_the_column(
    statement: str, field: str, message: str, after: tuple[Any, ...]
) -> None:
    changes.flags.create("other", {"ticket": "S-2"})
    changes.flags.delete(KEY)
    rows(statement)
    with pytest.raises(InvalidChangeError, match=message.format(field=field)):
        changes.flags.undo(KEY)
    ran = run(f"undo {KEY} --without {field} --yes")
    assert f"{KEY}: left out: {field}" in ran.err
    assert rows(STORED) == [after]


@pytest.mark.usefixtures("flags")
def test_preview_says_what_does_not_fit() -> None:
    changes.flags.delete(KEY)
    rows(DELETE_TEAM)
    version = Change.objects.latest("id").pk
    [shown] = preview_undo(entries_of_versions([version]))
    assert (shown.unfit, shown.written) == (("team",), None)
    [shown] = preview_undo(entries_of_versions([version]), without=["team"])
    assert (shown.unfit, shown.problem) == ((), None)
    assert shown.changed is not None
    assert shown.changed.left_out == ("team",)


@pytest.mark.usefixtures("flags")
@pytest.mark.parametrize("verb", ["undo-transaction", "undo-since"])
def test_undo_of_several_changes_leaves_out_a_column(verb: str) -> None:
    with acting_as("ana"):
        changes.flags.delete(KEY)
    rows(DELETE_TEAM)
    version = str(Change.objects.latest("id").pk)
    what = [version] if verb == "undo-transaction" else ["1m", "--by", "ana"]
    undo = partial(call_command, "flags", verb, *what, yes=True)
    with pytest.raises(CommandError, match="pass --without team"):
        undo()
    undo(without=["team"])
    assert rows(STORED) == [(None, "SHOP-1234567", 7)]


@pytest.mark.usefixtures("flags")
def test_restored_row_keeps_what_is_left_out() -> None:
    before = flag_version(KEY) or 0
    changes.flags.update(KEY, {"ticket": "SHOP-2", "stage": 8, "team": None})
    rows(DELETE_TEAM)
    with pytest.raises(InvalidChangeError, match="pass --without team"):
        changes.flags.restore(KEY, to=before)
    done = changes.flags.restore(KEY, to=before, without=["team", "stage"])
    assert {*done.left_out} == {"team", "stage"}
    assert rows(STORED) == [(None, "SHOP-1234567", 8)]


@pytest.mark.parametrize(
    ("old", "advice"),
    [
        ("old || '{\"stage\": null}'", "; to leave it out, pass --without stage"),
        ("old - 'stage'", ", and has no default; create the row again"),
    ],
    ids=["it was nullable", "it is new"],
)
def test_column_that_needs_a_value_is_named(old: str, advice: str, flags: Any) -> None:
    changes.flags.delete(KEY)
    rows(f"UPDATE flagstaff_change SET old = {old}")
    if "null" not in old:
        field: Any = flags._meta.get_field("stage")
        # Django has kept it.
        field.default = vars(field)["_get_default"] = lambda: None
    with pytest.raises(InvalidChangeError, match=f"stage: the column needs a value{advice}"):
        changes.flags.undo(KEY)


@pytest.mark.usefixtures("flags")
def test_columns_that_are_gone_are_named_in_the_receipt(capsys: pytest.CaptureFixture[str]) -> None:
    changes.flags.set_rollout(KEY, 5)
    rows(
        "UPDATE flagstaff_change SET old = old || '{\"colour\": 1}', new = new || '{\"colour\": 2}'"
    )
    call_command("flags", "undo", KEY, yes=True, json=True)
    assert json.loads(capsys.readouterr().out)["left_out"] == ["colour"]
    changes.flags.delete(KEY)
    rows("UPDATE flagstaff_change SET old = old || '{\"colour\": 1}' WHERE action = 'delete'")
    assert changes.flags.undo(KEY).left_out == ("colour",)


@pytest.mark.usefixtures("flags")
@pytest.mark.parametrize("name", ["key", "colour", "id", "changed_at"])
def test_field_that_cannot_be_left_out_is_refused(name: str) -> None:
    changes.flags.delete(KEY)
    with pytest.raises(InvalidChangeError, match=f"{name}: not a field to leave out"):
        changes.flags.undo(KEY, without=[name])
