"""Projects without the app, and projects whose own flag model lacks the optional columns."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from django.db import connection
from django.utils import timezone

from flagstaff.cleanup.models import Snooze
from flagstaff.cleanup.stale import assess_flags
from flagstaff.conf import Conf
from tests.support.models_of_others import flag_fields, model_of
from tests.support.stale_flags import collect_usage
from tests.support.terminals import document, run

KEY = "new_checkout"


@pytest.fixture
def own_flags(db: None, monkeypatch: pytest.MonkeyPatch) -> Any:
    """The flag model of a project: a key, its rollout, and allowed users."""
    model = model_of("FeatureFlag", flag_fields())
    with connection.schema_editor() as editor:
        editor.create_model(model)
    monkeypatch.setattr(Conf, "flag_model", model)
    collect_usage()
    return model


def test_flag_model_without_the_columns_has_stale_flags(own_flags: Any) -> None:
    own_flags.objects.create(key=KEY, enabled=True, rollout_percent=50)
    [found] = assess_flags()
    assert (found.facts.owner, found.facts.tags, found.facts.review_on) == ("", (), None)
    [stale] = document("stale")["flags"]
    assert (stale["key"], stale["owner"], stale["kind"]) == (KEY, "", "")
    assert [one["signal"] for one in stale["signals"]] == ["not-evaluated"]
    assert run("stale --fail").status == 1


def test_flag_of_a_model_without_the_columns_is_snoozed(own_flags: Any) -> None:
    own_flags.objects.create(key=KEY)
    tomorrow = timezone.localdate() + timedelta(days=1)
    assert run(f"snooze {KEY} --until {tomorrow}").status == 0
    assert Snooze.objects.get().key == KEY
    assert run("stale --fail").status == 0


# SQLite has no history and no usage, so it shows that all of this is optional.
BARE = """
import os, sys
from django.conf import settings
settings.configure(
    DATABASES={"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": sys.argv[1]}},
    INSTALLED_APPS=[
        "django.contrib.auth", "django.contrib.contenttypes", "flagstaff", *sys.argv[2:]
    ],
    DEFAULT_AUTO_FIELD="django.db.models.BigAutoField", USE_TZ=True, SECRET_KEY="x",
)
import django
django.setup()
from django.core.management import call_command
call_command("migrate", verbosity=0)
"""


def test_project_without_the_app_has_no_table_no_verb_and_no_import(
    tmp_path: Any, run_isolated: Any
) -> None:
    script = f"""{BARE}
from django.db import connection
print([name for name in connection.introspection.table_names() if "cleanup" in name])
from flagstaff.cli.main import all_verbs
print([one.name for one in all_verbs() if one.name in ("stale", "snooze", "references")])
print([name for name in sys.modules if name.startswith(("flagstaff.cleanup", "libcst"))])
"""
    assert run_isolated(script, str(tmp_path / "db")) == "[]\n[]\n[]\n"


def test_app_does_not_import_libcst_before_the_search(tmp_path: Any, run_isolated: Any) -> None:
    script = f"""{BARE}
call_command("flags", "stale", verbosity=0)
print([name for name in sys.modules if name.startswith("libcst")])
"""
    printed = run_isolated(script, str(tmp_path / "db"), "flagstaff.cleanup")
    assert printed.splitlines()[-1] == "[]"
