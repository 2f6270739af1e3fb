"""The mirror on SQLite, and of a flag model of the project."""

from __future__ import annotations

import pytest

from tests.conftest import RunIsolated

_OWN_MODEL = """
import django

django.setup()

from django.core.management import call_command
from waffle import get_waffle_flag_model

from flagstaff import changes
from flagstaff.compat.mirrored import WaffleMirrorError
from flagstaff.models import FeatureFlag
from tests.support.apps.teams.models import Team

call_command("migrate", run_syncdb=True, verbosity=0)


def teams(key):
    rules = FeatureFlag.objects.get(key=key).rules
    return [rule["conditions"][0]["values"] for rule in rules if rule["name"] == "teams"]


model = get_waffle_flag_model()
team = Team.objects.create(name="red")
row = model.objects.create(name="checkout")
row.teams.add(team)
print(model.__name__, teams("checkout") == [[team.pk]])
team.teamflag_set.clear()
print(teams("checkout"))
row.everyone = True
row.save()
print(FeatureFlag.objects.get().enabled)
row.everyone = False
row.save()
print(FeatureFlag.objects.get().enabled)
changes.create("search")
try:
    model.objects.create(name="search")
except WaffleMirrorError as error:
    print(type(error).__name__, model.objects.count())
# Without a history nothing proves that only waffle has changed the flag.
row.everyone = True
row.save()
row.delete()
print(FeatureFlag.objects.get(key="checkout").enabled)
"""


@pytest.mark.timeout(60)
def test_own_flag_model_is_mirrored_with_its_relations(run_isolated: RunIsolated) -> None:
    settings = "tests.support.apps.settings_teams"
    printed = run_isolated(_OWN_MODEL, DJANGO_SETTINGS_MODULE=settings).splitlines()
    assert printed == [
        "TeamFlag True",
        "[]",
        "True",
        "False",
        "WaffleMirrorError 1",
        "False",
    ]


@pytest.mark.timeout(120)
def test_rows_and_relations_are_mirrored_on_sqlite(run_isolated: RunIsolated) -> None:
    files = [f"tests/database/compat/test_mirror{name}.py" for name in ("", "_relations")]
    needs_postgresql = "history or event or locked or migrated or error"
    options = ["-q", "-p", "no:cacheprovider", "--ds=tests.support.settings_sqlite"]
    run_isolated(
        "import pytest, sys; sys.exit(pytest.main(sys.argv[1:]))",
        *options,
        "-k",
        f"not ({needs_postgresql})",
        *files,
    )
