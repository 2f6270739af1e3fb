"""Projects leave django-constance and django-flags by the page."""

import re
from pathlib import Path
from typing import Any

import pytest

from tests.support.pages import code_of
from tests.support.projects import Project

PAGE = "how-to/from-others.md"
MIDDLEWARE = ["flagstaff.middleware.FlagstaffMiddleware"]
CONSTANCE = """
import datetime
import uuid
from decimal import Decimal
from django.utils.translation import gettext_lazy as _

CONSTANCE_BACKEND = "constance.backends.database.DatabaseBackend"
NOON = datetime.datetime(2026, 3, 1, 12, tzinfo=datetime.timezone.utc)
CONSTANCE_CONFIG = {
    "PAGE_SIZE": (20, "Rows on a page"),
    "SHOWS_BANNER": (True, _("Whether there is a banner"), bool),
    "TAX": (0.19, "", float),
    "TITLE": ("Shop", "The title of all pages"),
    "PRICE": (Decimal("9.90"), "Of a parcel"),
    "OPENED_ON": (datetime.date(2026, 3, 1), "", datetime.date),
    "OPENED_AT": (NOON, ""),
    "CLOSES_AT": (datetime.time(18, 30), ""),
    "DELAY": (datetime.timedelta(days=1, minutes=30), ""),
    "OWNER": (uuid.UUID(int=7), ""),
    "CARRIERS": ([("dhl", "DHL"), ("ups", "UPS")], "Pairs"),
    "LIMITS": ({"free": 1, "pro": 10}, ""),
    "NOTICE": (None, "Shown if there is one"),
    "THEME": ("light", "", "theme"),
}
CONSTANCE_ADDITIONAL_FIELDS = {
    "theme": ["django.forms.ChoiceField", {"choices": (("light", "Light"), ("dark", "Dark"))}]
}
CONSTANCE_CONFIG_FIELDSETS = {
    "Catalogue": ["PAGE_SIZE", "TITLE"],
    "Others": [name for name in CONSTANCE_CONFIG if name not in ("PAGE_SIZE", "TITLE")],
}
"""
EDIT = """
from decimal import Decimal
from constance import config

config.PAGE_SIZE, config.PRICE = 50, Decimal("12.50")
"""
READ = """
import json
from uuid import UUID
from constance import config
from django.conf import settings
from django.utils.dateparse import parse_time
from flagstaff.models import KeyValueStore
from shop import flags

assert parse_time(flags.CLOSES_AT.get()) == config.CLOSES_AT
assert UUID(flags.OWNER.get()) == config.OWNER
assert flags.CARRIERS.get() == [list(pair) for pair in config.CARRIERS]
converted = ["CARRIERS", "CLOSES_AT", "OWNER"]
for name, (default, text, *_) in settings.CONSTANCE_CONFIG.items():
    declared, value = getattr(flags, name), getattr(config, name)
    assert declared.description == text
    if name not in converted:
        assert (declared.default, declared.get()) == (default, value), name
        assert type(declared.get()) is type(value), name
rows = KeyValueStore.objects.order_by("key")
stored = {row.key: row.value for row in rows}
print(json.dumps([flags.PAGE_SIZE.group, flags.THEME.choices, stored]))
"""


@pytest.fixture
def shop_with_constance(tmp_path: Path, empty_database: str) -> Project:
    """A project with a setting of each type, of which two were changed, and with the new file."""
    shop = Project(
        tmp_path,
        empty_database,
        apps=["flagstaff", "constance", "shop"],
        middleware=MIDDLEWARE,
        settings=CONSTANCE,
        files={"shop/__init__.py": ""},
    )
    shop.manage("migrate", "--verbosity=0")
    shop.run(EDIT)
    [command] = code_of(PAGE, "console", "flags declare --constance")
    line, _, file = command.strip().removeprefix("$ python manage.py ").partition(" > ")
    shop.write(file, shop.manage(*line.split()))
    return shop


@pytest.mark.timeout(120)
def test_settings_of_all_types_become_values_by_the_page(shop_with_constance: Project) -> None:
    [set_values] = code_of(PAGE, "py", "from constance import config")
    shop_with_constance.run(set_values)
    # A second time, nothing is left to do.
    shop_with_constance.run(set_values)
    stored = {"page_size": 50, "price": "12.50"}
    assert shop_with_constance.printed(READ) == ["Catalogue", ["light", "dark"], stored]


@pytest.mark.timeout(120)
def test_value_that_cannot_be_set_leaves_none_behind(shop_with_constance: Project) -> None:
    [set_values] = code_of(PAGE, "py", "from constance import config")
    shop_with_constance.run("from constance import config; config.THEME = 'blue'")
    assert "is not one of" in shop_with_constance.run(set_values, status=1)
    count = "from flagstaff.models import KeyValueStore; print(KeyValueStore.objects.count())"
    assert shop_with_constance.printed(count) == 0


FLAGS = """
INSTALLED_APPS += ["flags"]
FLAGS = {
    "NEW_CHECKOUT": [("boolean", True)],
    "OLD_SEARCH": [("boolean", False)],
    "BETA": [("user", "ann")],
    "WELCOME": [("anonymous", True)],
    "OFFERS": [
        {"condition": "path matches", "value": "^/offers/", "required": True},
        {"condition": "anonymous", "value": False, "required": True},
    ],
}
"""
VIEWS = """
from django.http import HttpResponse
from django.shortcuts import render
from django.urls import path
from flags.decorators import flag_required
from flags.state import flag_disabled, flag_enabled

def old(request):
    return HttpResponse("old")

@flag_required("NEW_CHECKOUT", fallback_view=old)
def checkout(request):
    return HttpResponse("new")

@flag_required("OLD_SEARCH", fallback_view=old)
def search(request):
    return HttpResponse("new")

def page(request):
    results = [
        flag_enabled("BETA", request=request),
        flag_enabled("OFFERS", request=request),
        flag_disabled("NEW_CHECKOUT", request=request),
    ]
    return render(request, "page.html", {"results": results})

urlpatterns = [
    path("", page), path("offers/", page), path("checkout/", checkout), path("search/", search)
]
"""
TEMPLATE = (
    "{{ results }} {% load feature_flags %}{% flag_enabled 'WELCOME' as on %}"
    "{% if on %}Welcome{% else %}Hello{% endif %}"
)
# The rows of the table on the page.
REPLACED = [
    ("urls.py", "from flags.decorators import", "from flagstaff.decorators import"),
    (
        "urls.py",
        "from flags.state import flag_disabled, flag_enabled",
        "from flagstaff import flag_enabled",
    ),
    ("urls.py", '"NEW_CHECKOUT", fallback_view=old', '"new_checkout", otherwise=old'),
    ("urls.py", '"OLD_SEARCH", fallback_view=old', '"old_search", otherwise=old'),
    ("urls.py", 'flag_enabled("BETA", request=request)', 'flag_enabled("beta", request.user)'),
    ("urls.py", 'flag_enabled("OFFERS", request=request)', 'request.flags.enabled("offers")'),
    (
        "urls.py",
        'flag_disabled("NEW_CHECKOUT", request=request)',
        'not flag_enabled("new_checkout", request.user)',
    ),
    ("page.html", "load feature_flags", "load flagstaff"),
    ("page.html", "{% flag_enabled 'WELCOME' as on %}{% if on %}", '{% flag "welcome" %}'),
    ("page.html", "{% endif %}", "{% endflag %}"),
    ("settings.py", 'INSTALLED_APPS += ["flags"]', 'MIDDLEWARE += ["urls.with_path"]'),
]
WITH_PATH = """
def with_path(get_response):
    def handle(request):
        request.flags.context["path"] = request.path
        return get_response(request)
    return handle
"""
USERS = """
from django.contrib.auth.models import User

User.objects.create(username="ann")
User.objects.create(username="bob")
"""
VISITS = """
import json
from django.contrib.auth.models import User
from django.test import Client

def seen(user):
    client = Client()
    if user:
        client.force_login(user)
    paths = ("/", "/offers/", "/checkout/", "/search/")
    return [client.get(path).content.decode() for path in paths]

print(json.dumps([seen(user) for user in [None, *User.objects.order_by("pk")]]))
"""
TARGETING = """
from django.contrib.auth.models import User
from flagstaff import changes

def rule(**conditions):
    conditions = [
        {"attribute": name, "operator": operator, "values": [value]}
        for name, (operator, value) in conditions.items()
    ]
    return [{"conditions": conditions}]

changes.flags.create("old_search")
changes.flags.create("beta", enabled=True)
changes.flags.allow("beta", [User.objects.get(username="ann")])
changes.flags.create("welcome", enabled=True, rules=rule(is_authenticated=("in", False)))
offers = rule(path=("startswith", "/offers/"), is_authenticated=("in", True))
changes.flags.create("offers", enabled=True, rules=offers)
"""


@pytest.mark.timeout(120)
def test_project_leaves_django_flags_by_the_page_without_a_changed_page(
    tmp_path: Path, empty_database: str
) -> None:
    shop = Project(
        tmp_path,
        empty_database,
        apps=["flagstaff", "shop"],
        middleware=MIDDLEWARE,
        settings=FLAGS,
        files={"urls.py": VIEWS, "page.html": TEMPLATE, "shop/__init__.py": ""},
    )
    # A check of django-flags queries users.
    shop.manage("migrate", "--verbosity=0", "--skip-checks")
    shop.run(USERS)
    before: Any = shop.printed(VISITS)
    assert before == [
        ["[False, False, False] Welcome", "[False, False, False] Welcome", "new", "old"],
        ["[True, False, False] Hello", "[True, True, False] Hello", "new", "old"],
        ["[False, False, False] Hello", "[False, True, False] Hello", "new", "old"],
    ]

    [commands] = code_of(PAGE, "console", "flags create new_checkout")
    *changes, declare = commands.splitlines()
    for line in changes:
        command = re.sub(r'"[^"]*"', "text", line.removeprefix("$ python manage.py "))
        shop.manage(*command.split(), "--yes")
    shop.run(TARGETING)
    line, _, file = declare.removeprefix("$ python manage.py ").partition(" > ")
    shop.write(file, shop.manage(*line.split()))
    for name, old, new in REPLACED:
        shop.replace(name, old, new)
    shop.append(WITH_PATH, "urls.py")
    assert shop.printed(VISITS) == before
