"""What every page has in common: its title, its environment, its link to the documentation, …

The URLs are those of the admins, so a new page is among them.
"""

import re
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.db import transaction
from django.test import Client

from flagstaff import changes
from flagstaff.conf import conf
from flagstaff.history import value_version
from flagstaff.models import KeyValueStore
from tests.support.admin_pages import (
    FLAGS,
    RECENT,
    SEGMENTS,
    VALUES,
    confirmed,
    count_queries,
    errors_of,
    inline_of,
    page,
    restore_url,
    row_url,
    undo_all_url,
    undo_url,
)
from tests.support.admin_urls import urls_for
from tests.support.experiments import EXPERIMENTS
from tests.support.pages import DOCS
from tests.support.plans import PLANS
from tests.support.screen import Screen
from tests.support.shop import STAFF, Shop
from tests.support.usage_rows import add_usage

NAME, SITE = "<b>shop</b>", "https://docs.example.com/flagstaff"
REPR = re.compile(r"&lt;[^&]* at 0x|object at 0x|DatabaseDefault|&lt;function|lambda")
MAX_BYTES = 500_000
HEADINGS = {
    FLAGS: "Flags",
    VALUES: "Values",
    SEGMENTS: "Segments",
    PLANS: "Rollout plans",
    EXPERIMENTS: "Experiments",
}
#: The pages of the documentation, by the beginning of a path. The last one that fits counts.
DOCUMENTED = {
    "/admin/": "admin",
    VALUES: "values",
    SEGMENTS: "units-and-segments",
    PLANS: "rollout-plans",
    EXPERIMENTS: "experiments",
    RECENT: "history",
    "/admin/flagstaff/waitingaction/": "later-and-approval",
    f"{FLAGS}workers/": "propagation",
    f"{FLAGS}unknown-keys/": "clean-up",
    f"{FLAGS}stale/": "clean-up",
    f"{FLAGS}compare/": "environments",
}
SEARCH = f"{FLAGS}search/"
#: The page of changes has a search of its own.
WITH_SEARCH = {
    f"{FLAGS}{name}/"
    for name in ("overview", "user", "unknown-keys", "workers", "stale", "compare", "search")
}
ENVIRONMENT = "p.flagstaff-environment"


@pytest.fixture(autouse=True)
def sessions_in_the_database(settings: Any) -> None:
    """As in most projects. Those of the other tests are in memory."""
    settings.SESSION_ENGINE = "django.contrib.sessions.backends.db"


@pytest.fixture
def rows(open_shop: Shop) -> list[Any]:
    """A row of each kind."""
    return [
        open_shop.flag(),
        open_shop.value(),
        open_shop.segment("enterprise"),
        open_shop.plan(state="pending"),
        open_shop.experiment(state="draft"),
    ]


def broken_facts(client: Client, url: str, rows: list[Any], *, has_settings: bool) -> list[str]:
    """Returns what is not as it should be on a page."""
    response: Any = client.get(url, follow=True)
    shown, path = Screen(response), response.wsgi_request.path
    heading = HEADINGS.get(path, shown.heading)
    keys = [row.key for row in rows if path.startswith(row_url(row).removesuffix("change/"))]
    searches = shown.all(f'#content form[action="{SEARCH}"]')
    docs = shown.attributes("a.flagstaff-docs[rel=noreferrer]", "href")
    facts = {
        "it opens": response.status_code == 200,
        "its title has the key": all(key in shown.title for key in keys),
        "its heading": shown.heading == heading,
        "it shows no object of Python": not REPR.search(shown.html),
        "it has no inline styles and scripts": inline_of(shown.html) == [],
        "it has one search": len(searches) == 1 or path not in WITH_SEARCH,
    }
    if path in HEADINGS:
        facts["its title is its heading"] = shown.title.split(" | ")[has_settings] == heading
    if has_settings:
        [*_others, page] = [page for start, page in DOCUMENTED.items() if path.startswith(start)]
        is_linked = docs == [f"{SITE}/how-to/{page}/"] or path.endswith("/allowed-users/")
        facts |= {
            "it names the environment once": shown.texts(ENVIRONMENT) == [f"⚠ {NAME}"],
            "its title begins with the environment": shown.title.startswith(f"{NAME} | "),
            "it links to its documentation": is_linked,
            "the documentation exists": (DOCS / "how-to" / f"{page}.md").is_file(),
        }
    else:
        facts |= {
            "it names no environment": shown.texts(ENVIRONMENT) == [],
            "its title is that of the site": " | Django site admin" in shown.title,
            "it links to no documentation": docs == [] or conf.docs_url is not None,
        }
    return [fact for fact, is_true in facts.items() if not is_true]


@pytest.mark.parametrize("has_settings", [True, False])
def test_every_page_is_as_pages_should_be(
    has_settings: bool, operator: Client, rows: list[Any], settings: Any
) -> None:
    if has_settings:
        environment = {"name": NAME, "color": "purple", "production": True}
        new = {"ENVIRONMENT": environment, "DOCS_URL": SITE}
        settings.FLAGSTAFF = {**settings.FLAGSTAFF, **new}
    # Django's old address of a row ends without a page, and nobody adds what waits.
    urls = {url for url in urls_for(rows) if not re.search(r"/\d+/$|/waitingaction/add/$", url)}
    assert len(urls) >= 60
    if not has_settings:
        urls = {*HEADINGS, *map(row_url, rows)}
    broken = {url: broken_facts(operator, url, rows, has_settings=has_settings) for url in urls}
    assert {url: facts for url, facts in broken.items() if facts} == {}


def test_pages_of_others_do_not_name_the_environment(operator: Client, settings: Any) -> None:
    environment = {"name": NAME, "color": "purple", "production": False}
    settings.FLAGSTAFF = {**settings.FLAGSTAFF, "ENVIRONMENT": environment}
    shown = Screen(page(operator))
    assert shown.texts(f"{ENVIRONMENT}.flagstaff-environment-purple") == [NAME]
    assert Screen(page(operator, "/admin/auth/user/")).texts(ENVIRONMENT) == []


def test_page_about_several_rows_has_no_key_in_its_title(operator: Client, open_shop: Shop) -> None:
    pks = [open_shop.flag(key).pk for key in ("dark_mode", "new_checkout")]
    for action in ("delete", "kill"):
        response = operator.post(FLAGS, {"action": action, "_selected_action": pks})
        assert "dark_mode" not in Screen(response).title


# Quotes are six characters each in HTML.
MEGABYTE = {"text": '"' * 500_000}


@pytest.mark.django_db(transaction=True)
def test_pages_of_a_large_value_are_short(operator: Client) -> None:
    value = KeyValueStore.objects.create(key="catalogue", value="short")
    changes.flags.create("new_checkout")
    with transaction.atomic():
        changes.flags.set_rollout("new_checkout", 50)
        changes.values.set("catalogue", MEGABYTE)
    changes.values.set("catalogue", {**MEGABYTE, "more": True})
    second = value_version("catalogue")
    changes.values.set("catalogue", {**MEGABYTE, "more": False})
    newest = value_version("catalogue")
    asking = [restore_url(second), undo_all_url(second), row_url(value, "delete")]
    for url in (VALUES, row_url(value), *asking):
        html = page(operator, url)
        assert len(html) < MAX_BYTES
        assert not REPR.search(html)
    html = page(operator, row_url(value, "history"))
    assert len(re.findall(r"… \([\d,]{7,} more characters\)", html)) == 5
    shown = confirmed(operator.get(undo_url(newest)))
    changes.values.set("catalogue", {**MEGABYTE, "more": None})
    [problem] = errors_of(operator.post(undo_url(newest), shown))
    assert "catalogue: value was changed again " in problem
    assert "more characters)" in problem
    assert len(problem) < 1_000


# Queries, with those of the session and of the user.

LIMITS = {
    VALUES: 11,
    SEGMENTS: 11,
    RECENT: 18,
    f"{RECENT}?key=page_size&kind=value": 18,
    f"{FLAGS}unknown-keys/": 10,
    f"{FLAGS}user/?user=alice": 12,
    # What depends on the flag is a query for each kind of row that has rules.
    f"{FLAGS}1/change/": 23,
    f"{FLAGS}1/change/?user=alice&context=country%3DDE": 24,
    f"{VALUES}2/change/": 19,
    f"{SEGMENTS}1/change/": 20,
}


def grow(shop: Shop, numbers: range) -> None:
    """Creates more rows of all kinds, with a history, usage and users."""
    flag, value = shop.flag("beta_reviews"), shop.value("page_size")
    rules = [{"conditions": [{"segment": "enterprise"}]}]
    for number in numbers:
        user = User.objects.create(username=f"user{number}")
        shop.segment(f"segment_{number}", conditions=[STAFF])
        shop.flag(f"flag_{number}", rules=rules).allowed_users.add(user)
        changes.flags.allow(flag.key, user)
        changes.flags.set_rollout(flag.key, 30 + number)
        changes.values.create(f"value_{number}", number)
        changes.values.set(value.key, 100 + number)
        changes.flags.create(f"old_{number}")
        changes.flags.delete(f"old_{number}")
        add_usage(f"old_{number}", "unknown")


def test_pages_make_as_few_queries_for_many_rows(operator: Client, open_shop: Shop) -> None:
    flag = open_shop.flag("beta_reviews")
    changes.flags.update(flag.key, {"rules": [{"conditions": [{"segment": "enterprise"}]}]})
    open_shop.plan(flag.key, "pending", steps=["60:1h"])
    grow(open_shop, range(2))
    few = {url: count_queries(operator, url) for url in LIMITS}
    grow(open_shop, range(2, 8))
    many = {url: count_queries(operator, url) for url in LIMITS}
    assert {url: (few[url], many[url]) for url in LIMITS if many[url] > few[url]} == {}
    assert {url: many[url] for url in LIMITS if many[url] > LIMITS[url]} == {}
    # With the permissions of the user, and those of the groups.
    for right in ("view_featureflag", "toggle_featureflag", "change_featureflag"):
        client = open_shop.client(right, right, "view_user")
        assert count_queries(client, row_url(flag)) <= LIMITS[row_url(flag)] + 2, right
