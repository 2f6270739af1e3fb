"""A project leaves waffle by the page, from top to bottom."""

import re
import shlex
from pathlib import Path

import pytest

from tests.support.pages import DOCS, code_of
from tests.support.projects import WAFFLE, Project

PAGE = "how-to/from-waffle.md"

VIEWS = """
from django.http import HttpResponse
from django.shortcuts import render
from django.urls import path
import waffle
from waffle.decorators import waffle_flag

@waffle_flag("beta_search")
def search(request):
    return HttpResponse("search")

def home(request):
    results = [waffle.flag_is_active(request, "checkout"), waffle.switch_is_active("checkout")]
    return render(request, "home.html", {"results": results})

urlpatterns = [path("", home), path("search/", search)]
"""
HOME = (
    "{% load waffle_tags %}{{ results }} {% flag beta_search %}beta{% else %}none{% endflag %}"
    ' {% switch "maintenance" %}closed{% endswitch %}'
)
ROWS = """
from django.contrib.auth.models import User
from waffle.models import Flag, Sample, Switch

ann = User.objects.create(username="ann", is_staff=True)
User.objects.create(username="bob")
Flag.objects.create(name="checkout", everyone=True).users.add(ann)
Flag.objects.create(name="beta_search", staff=True)
Flag.objects.create(name="new_search", percent=50)
Switch.objects.create(name="checkout", active=False)
Switch.objects.create(name="maintenance", active=True)
Sample.objects.create(name="audit", percent=10)
"""
# What each user sees: the page, and the status of the search.
VISITS = """
import json
from django.apps import apps
from django.contrib.auth.models import User
from django.test import Client

if apps.is_installed("flagstaff"):
    import flagstaff
    flagstaff.refresh()

def seen(user):
    client = Client()
    if user:
        client.force_login(user)
    return [client.get("/").content.decode(), client.get("/search/").status_code]

print(json.dumps([seen(user) for user in [None, *User.objects.order_by("pk")]]))
"""
# What the page does for the way back: a row becomes as its flag is.
TURN_OFF = """
from django.db import connection

connection.cursor().execute("UPDATE waffle_flag SET everyone = false WHERE name = 'beta_search'")
"""
# Code that has read a row before the flag was turned off, and saves it afterwards.
SAVE_STALE = """
from waffle.models import Flag
from django.core.management import call_command
import waffle

assert "stand_in" in waffle.__file__, waffle.__file__
row = Flag.objects.get(name="beta_search")
print(row.everyone)
call_command("flags", "off", "beta_search")
row.save()
"""


@pytest.fixture
def shop(tmp_path: Path, empty_database: str) -> Project:
    files = {"urls.py": VIEWS, "home.html": HOME}
    return Project(tmp_path, empty_database, settings=WAFFLE, files=files)


@pytest.mark.timeout(240)
def test_project_leaves_waffle_by_the_page_and_goes_back_without_a_changed_result(
    shop: Project,
) -> None:
    lines = re.findall(r"^\$ python manage\.py (.*)$", (DOCS / PAGE).read_text(), re.MULTILINE)
    migrate, check, dry_run, run_import, compare, check_again, compare_again = map(
        shlex.split, lines
    )
    [install] = code_of(PAGE, "python")
    agree, swap = code_of(PAGE, "py")
    shop.manage("migrate", "--verbosity=0")
    shop.run(ROWS)
    before = shop.printed(VISITS)
    assert [status for _page, status in before] == [404, 200, 404]

    shop.append(install)
    shop.manage(*migrate, "--verbosity=0")
    shop.manage(*check)
    assert shop.printed(VISITS) == before

    assert "3 exact, 1 differs, 0 lost, 2 refused" in shop.manage(*dry_run, status=4)
    shop.append(agree)
    assert "6 rows: 5 exact, 1 differs, 0 lost, 0 refused" in shop.manage(*dry_run)
    assert "flags undo-transaction" in shop.manage(*run_import)
    assert shop.printed(VISITS) == before
    assert "0 differs, 0 off here, 0 no flag" in shop.manage(*compare)

    shop.write("settings.py", swap + shop.read("settings.py"))
    shop.manage(*check_again)
    assert shop.printed(VISITS) == before
    shop.manage("makemigrations", "--check", "--dry-run")
    shop.manage(*run_import)
    shop.manage(*compare)

    shop.run(SAVE_STALE)
    off = shop.printed(VISITS)
    assert [status for _page, status in off] == [404, 404, 404]

    assert "0 differs, 1 off here" in shop.manage(*compare_again, status=6)
    shop.run(TURN_OFF)
    shop.manage(*compare_again)
    shop.replace("settings.py", swap, "")
    assert shop.printed(VISITS) == off
