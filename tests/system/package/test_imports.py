"""New processes import the public names without settings, and set the app up at little cost."""

import json

from tests.conftest import RunIsolated

# Before the project's settings are known.
UNSET = {"DJANGO_SETTINGS_MODULE": ""}


def test_each_name_can_be_the_first_import_without_settings(run_isolated: RunIsolated) -> None:
    script = """
import os, flagstaff
for name in flagstaff.__all__:
    if os.fork() == 0:
        os._exit(not callable(getattr(flagstaff, name)))
    if os.wait()[1]:
        print(name)
"""
    assert run_isolated(script, **UNSET) == ""


def test_star_import_has_all_names_and_does_not_connect(run_isolated: RunIsolated) -> None:
    script = """
import sys, threading
calls = []
sys.addaudithook(lambda event, _: calls.append(event) if event == "socket.connect" else None)
from flagstaff import *
import flagstaff
print(set(flagstaff.__all__) - set(dir()))
if sys.argv[1:]:
    print(calls, threading.active_count(), status().mode)
"""
    assert run_isolated(script, **UNSET) == "set()\n"
    assert run_isolated(script, "connects") == "set()\n[] 1 idle\n"


def test_setup_of_the_core_imports_only_itself_and_needs_little_memory(
    run_isolated: RunIsolated,
) -> None:
    script = """
import json, sys, tracemalloc
from django.conf import settings
needed = ["auth", "contenttypes", "sessions", "messages", "admin"]
apps = [f"django.contrib.{name}" for name in needed] + sys.argv[1:]
database = {"ENGINE": "django.db.backends.postgresql"}
settings.configure(INSTALLED_APPS=apps, DATABASES={"default": database})
import django
tracemalloc.start()
django.setup()
print(json.dumps([tracemalloc.get_traced_memory()[0], *sys.modules]))
"""
    alone, *modules_alone = json.loads(run_isolated(script, **UNSET))
    with_core, *modules = json.loads(run_isolated(script, "flagstaff", **UNSET))
    added = {name for name in modules if name not in modules_alone}
    assert {name.partition(".")[0] for name in added} == {"flagstaff"}
    optional = tuple(f"flagstaff.{name}" for name in ("contrib", "experiments", "rollouts"))
    assert [name for name in added if name.startswith(optional)] == []
    # The rest of the 5 MiB is for the pages of the extension.
    assert (with_core - alone) / 2**20 < 2.5
