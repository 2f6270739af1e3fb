"""Fixtures of Django: `dumpdata` and `loaddata`, within a database and from one to another."""

import json
from pathlib import Path
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.core.management import call_command

from flagstaff import experiments, rollouts
from flagstaff._tables.rows import all_rows
from flagstaff.experiments.models import Experiment, ExperimentEvent
from flagstaff.models import FeatureFlag, KeyValueStore, Segment
from flagstaff.rollouts.models import Plan, PlanEvent
from tests.support.models_of_others import flag_model_of, value_model_of
from tests.support.shop import GERMAN, Shop

pytestmark = pytest.mark.usefixtures("sequences")

MODELS = (FeatureFlag, KeyValueStore, Segment)
LABELS = tuple(model._meta.label for model in MODELS)


def dumped(path: Path, *options: str) -> str:
    """Writes a fixture of flags, values and segments, and returns its path."""
    file = str(path / "flags.json")
    call_command("dumpdata", *LABELS, *options, output=file)
    return file


def stored() -> dict[str, Any]:
    """What each key has, and the users of its flag."""
    return {
        **{
            flag.key: (
                flag.rollout_percent,
                {*flag.allowed_users.values_list("username", flat=True)},
            )
            for flag in FeatureFlag.objects.all()
        },
        **dict(KeyValueStore.objects.values_list("key", "value")),
        **dict(Segment.objects.values_list("key", "conditions")),
    }


@pytest.fixture(autouse=True)
def rows(shop: Shop) -> None:
    """A flag with an allowed user, a value and a segment."""
    shop.flag()
    shop.value()
    shop.segment("german")


def move_to_another_database() -> dict[str, Any]:
    """Replaces all rows as another database has them: other keys have their primary keys.

    Also of the user, and `new_checkout` and `payment_gateway` have others. Returns the rows of
    other keys.
    """
    pks = {model: model._base_manager.get().pk for model in (*MODELS, User)}
    for model in pks:
        model._base_manager.all().delete()
    User.objects.create_user("bob", pk=pks[User])
    User.objects.create_user("alice")
    FeatureFlag.objects.create(pk=pks[FeatureFlag], key="other", rollout_percent=7)
    FeatureFlag.objects.create(key="new_checkout").allowed_users.add(pks[User])
    KeyValueStore.objects.create(pk=pks[KeyValueStore], key="page_size", value=20)
    KeyValueStore.objects.create(key="payment_gateway", value="adyen")
    Segment.objects.create(pk=pks[Segment], key="swiss", conditions=[GERMAN])
    return {"other": (7, set()), "page_size": 20, "swiss": [GERMAN]}


def test_fixture_with_natural_keys_changes_the_rows_of_its_keys_in_another_database(
    tmp_path: Path,
) -> None:
    before = stored()
    file = dumped(tmp_path, "--natural-primary", "--natural-foreign")
    assert not any("pk" in row for row in json.loads(Path(file).read_text()))
    others = move_to_another_database()
    call_command("loaddata", file, verbosity=0)
    assert stored() == before | others
    # Loaded again, it changes nothing.
    call_command("loaddata", file, verbosity=0)
    assert stored() == before | others


def test_fixture_with_primary_keys_restores_the_rows_of_the_same_database(tmp_path: Path) -> None:
    before, file = stored(), dumped(tmp_path)
    FeatureFlag.objects.update(rollout_percent=99)
    Segment.objects.all().delete()
    call_command("loaddata", file, verbosity=0)
    assert stored() == before


@pytest.mark.parametrize(("options", "deleted"), [((), 0), (("--all",), 1)])
def test_fixture_has_the_events_of_deleted_plans_and_experiments_only_with_all_rows(
    options: tuple[str, ...], deleted: int, shop: Shop, tmp_path: Path
) -> None:
    experiments.create("wine")
    shop.experiment("banner", state="draft")
    experiments.delete("banner")
    rollouts.create("new_checkout", ["50:1h", "100"])
    rollouts.delete("new_checkout")
    file = str(tmp_path / "apps.json")
    call_command("dumpdata", "flagstaff_experiments", "flagstaff_rollouts", *options, output=file)
    for model in (Experiment, Plan):
        all_rows(model).delete()
    call_command("loaddata", file, verbosity=0)
    assert (all_rows(Plan).count(), all_rows(Experiment).count()) == (deleted, 1 + deleted)
    kinds = [PlanEvent.Kind.DELETED, ExperimentEvent.Kind.DELETED]
    loaded = [
        all_rows(model).filter(kind=kind).count()
        for model, kind in zip((PlanEvent, ExperimentEvent), kinds, strict=True)
    ]
    assert loaded == [deleted, deleted]


@pytest.mark.parametrize("model_of", [flag_model_of, value_model_of])
def test_model_of_a_project_has_natural_keys(model_of: Any) -> None:
    model = model_of()
    assert model(key="new_checkout").natural_key() == ("new_checkout",)
    manager = model._default_manager.db_manager("replica")
    assert (manager.db, callable(manager.get_by_natural_key)) == ("replica", True)
    # Else each project would need a migration.
    assert not manager.use_in_migrations
