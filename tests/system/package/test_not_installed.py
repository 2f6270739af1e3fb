"""A project whose INSTALLED_APPS lacks "flagstaff": the first mistake of a newcomer."""

import pytest

from tests.conftest import RunIsolated

SETTINGS = """
import sys, types
import django
from django.conf import settings
settings.configure(
    INSTALLED_APPS=["django.contrib.auth", "django.contrib.contenttypes"],
    DATABASES={"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": ":memory:"}},
    ROOT_URLCONF="shop_urls",
)
def fails(work):
    try:
        work()
    except Exception as error:
        print(f"{type(error).__name__}: {error}")
"""
# Imported before the apps are ready, as in a module of models.
EVALUATION = """
from flagstaff import flag_enabled
django.setup()
fails(lambda: flag_enabled("new_checkout"))
"""
CHECK = """
from django.core.management import call_command
django.setup()
class Urls(types.ModuleType):
    def __getattr__(self, name):
        {imported}
        raise AttributeError(name)
sys.modules["shop_urls"] = Urls("shop_urls")
fails(lambda: call_command("check"))
"""
MESSAGE = 'SettingError: "flagstaff" is not in INSTALLED_APPS; add it\n'
UNSET = {"DJANGO_SETTINGS_MODULE": ""}


def test_evaluation_names_the_missing_app(run_isolated: RunIsolated) -> None:
    assert run_isolated(SETTINGS + EVALUATION, **UNSET) == MESSAGE


@pytest.mark.parametrize(
    "imported",
    [
        "from flagstaff import flag_enabled",
        "from flagstaff.decorators import flag_required",
        "from flagstaff import changes",
    ],
)
def test_check_names_the_missing_app(run_isolated: RunIsolated, imported: str) -> None:
    script = SETTINGS + CHECK.format(imported=imported)
    assert run_isolated(script, **UNSET) == MESSAGE
