"""The list of flags: columns, order, filters, shortcuts, search, buttons, queries."""

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from django.contrib import admin
from django.contrib.auth.models import User
from django.db.models import QuerySet
from django.http import HttpRequest
from django.test import Client
from django.urls import path
from django.utils import timezone

from flagstaff import acting_as, changes, flag_enabled, rollouts
from flagstaff.admin.flag.admin import FeatureFlagAdmin
from flagstaff.admin.parts import Level, Note
from flagstaff.base_models import KeyManager
from flagstaff.models import Change, FeatureFlag
from flagstaff.rollouts.admin.plans import PAGES
from tests.support.admin_pages import (
    FLAGS,
    RECENT,
    VALUES,
    column,
    count_queries,
    events_of,
    listed_keys,
    page,
    staff,
)
from tests.support.forced_off import forced_off, forced_on
from tests.support.screen import Screen
from tests.support.sql import rows as execute
from tests.support.stale_flags import collect_usage, evaluate, make_flag, serve
from tests.support.usage_rows import add_usage, delete_usage

WHOLE = [{"conditions": [{"attribute": "plan", "operator": "in", "values": ["a"]}]}]
RULES: list[dict[str, Any]] = [{**WHOLE[0], "rollout_percent": 25}]
# Beside those of the session and of the user.
MAX_QUERIES = 9


@pytest.fixture(autouse=True)
def _no_usage() -> None:
    delete_usage()


def keys(client: Client, query: str = "") -> list[str]:
    """Returns the keys that the list shows for a query."""
    return listed_keys(page(client, FLAGS + query))


def test_flag_that_the_manager_of_a_project_hides_is_listed_and_killed(
    admin_client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    changes.flags.create("new_checkout", enabled=True, rollout_percent=100)
    monkeypatch.setattr(KeyManager, "get_queryset", lambda self: QuerySet(self.model).none())
    assert FeatureFlag.objects.count() == 0
    assert keys(admin_client) == ["new_checkout"]
    [flag] = FeatureFlag._base_manager.all()
    page(admin_client, f"{FLAGS}{flag.pk}/change/")
    admin_client.post(f"{FLAGS}{flag.pk}/kill/", {"_confirmed": "1"})
    assert flag_enabled("new_checkout") is False


def cells(client: Client, name: str, query: str = "") -> list[str]:
    """Returns the texts of a column, from top to bottom."""
    return column(page(client, FLAGS + query), name)


def use_admin(settings: Any, own: type[FeatureFlagAdmin]) -> None:
    """Lets a class of a project show the flags."""
    site = admin.AdminSite()
    site.register(FeatureFlag, own)
    settings.ROOT_URLCONF = (path("admin/", site.urls),)


STATES: dict[str, tuple[str, dict[str, Any]]] = {
    "rollout": ("rollout 25 %", {"rollout_percent": 25}),
    "by-rules": ("by rules 1 rule · others 50 %", {"rollout_percent": 50, "rules": RULES}),
    "allowed-users": ("allowed users only + 1 user", {"rollout_percent": 0}),
    "all": ("on for all", {"rollout_percent": 100}),
    "no-users": ("on for no users", {"rollout_percent": 0}),
    "off": ("off 1 rule · others 50 %", {"enabled": False, "rollout_percent": 50, "rules": RULES}),
}


@pytest.fixture
def one_of_each_state(alice: User) -> None:
    """A flag in each state, whose key is the state."""
    for key, (_text, fields) in STATES.items():
        FeatureFlag.objects.create(key=key, **{"enabled": True, **fields})
    FeatureFlag.objects.get(key="allowed-users").allowed_users.add(alice)


@pytest.mark.usefixtures("one_of_each_state")
def test_list_is_filtered_and_sorted_by_state(operator: Client) -> None:
    assert {state: keys(operator, f"?state={state}") for state in STATES} == {
        state: [state] for state in STATES
    }
    assert sorted(keys(operator, "?state=on")) == sorted({*STATES} - {"off"})
    assert keys(operator, "?state=x") == []
    assert cells(operator, "state", "?o=2") == [text for text, _fields in STATES.values()]
    assert keys(operator, "?o=-2") == [*STATES][::-1]


def test_flag_at_100_percent_is_on_for_all_if_all_its_rules_are(operator: Client) -> None:
    regex = [{"conditions": [{"attribute": "plan", "operator": "regex", "values": ["("]}]}]
    all_rules: dict[str, tuple[Any, str]] = {
        "none": ([], "all"),
        "whole": (WHOLE, "all"),
        "partial": ([*WHOLE, *RULES], "by-rules"),
        "no list": ({"conditions": "all"}, "by-rules"),
        "no conditions": ([{"rollout_percent": 100}], "by-rules"),
        "no rule": ([*WHOLE, "all"], "by-rules"),
        "no pattern": (regex, "by-rules"),
        "no number": ([{**WHOLE[0], "rollout_percent": "100"}], "by-rules"),
    }
    for key, (rules, _state) in all_rules.items():
        make_flag(key, rollout_percent=100)
        FeatureFlag.objects.filter(key=key).update(rules=rules)
    for state in ("all", "by-rules"):
        expected = {key for key, (_rules, its_state) in all_rules.items() if its_state == state}
        assert {*keys(operator, f"?state={state}")} == expected


def test_flags_that_need_attention_come_first_then_the_last_changed(operator: Client) -> None:
    for key, days in (("old", 9), ("new", 1), ("middle", 5)):
        make_flag(key, days=days)
    order = Screen(page(operator)).texts(".flagstaff-order")
    assert order == ["3 flags, the last changed first"]
    make_flag("partial", days=60, rollout_percent=100, rules=[*WHOLE, *RULES])
    order = Screen(page(operator)).texts(".flagstaff-order")
    assert order == ["4 flags: those that need attention first, then the last changed"]
    assert keys(operator) == ["partial", "new", "middle", "old"]
    assert cells(operator, "flag")[0] == (
        "partial Rule 2 keeps 75 % of its users out, also at a rollout of 100 %."
    )
    assert keys(operator, "?state=attention") == ["partial"]
    assert keys(operator, "?o=1") == ["middle", "new", "old", "partial"]
    assert keys(operator, "?o=4") == ["new", "middle", "old", "partial"]


def test_what_an_app_says_is_shown_as_attention_or_as_a_note(
    operator: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    said = {"a": Note("rolled <b>back</b>", Level.PROBLEM), "b": Note("plan: running")}

    def notes(_request: Any, flags: Any) -> dict[str, Note]:
        return {str(flag.pk): said[flag.key] for flag in flags}

    pages = replace(PAGES, flag_notes=notes)
    monkeypatch.setattr("flagstaff.rollouts.admin.plans.PAGES", pages)
    for key in ("a", "b"):
        FeatureFlag.objects.create(key=key, description="Text.")
    assert cells(operator, "flag") == ["a rolled <b>back</b>", "b plan: running · Text."]
    html = page(operator)
    assert "rolled <b>" not in html
    # The column may be too narrow for a text.
    assert Screen(html).attributes("small[title]", "title")[:2] == [
        "rolled back",
        "plan: running · Text.",
    ]


def test_flag_that_is_forced_off_or_past_its_review_date_says_so(operator: Client) -> None:
    FeatureFlag.objects.create(key="a", review_on=timezone.localdate() - timedelta(days=1))
    FeatureFlag.objects.create(key="b", review_on=timezone.localdate())
    FeatureFlag.objects.create(key="c")
    forced = "c Forced off in this process by FLAGSTAFF_FORCE_OFF."
    with forced_off(["c"]):
        assert cells(operator, "flag", "?o=1") == ["a stale: past review date", "b", forced]
    with forced_on(["c"]):
        [*_, cell] = cells(operator, "flag", "?o=1")
        assert cell == "c Forced on in this process by FLAGSTAFF_FORCE_ON."
        assert keys(operator, "?state=attention") == ["c"]


def test_newest_change_is_described(operator: Client, alice: User) -> None:
    for key in ("allowed", "described", "killed"):
        make_flag(key, days=1)
    with acting_as(alice):
        changes.flags.allow("allowed", alice)
        changes.flags.update("described", {"description": "x", "owner": "y"})
        changes.flags.disable("killed")
        changes.flags.create("new", rollout_percent=5)
    texts = ("added 1 allowed user", "description", "turned off", "created")
    for shown, text in zip(cells(operator, "changed", "?o=1"), texts, strict=True):
        assert shown.startswith(f"{text} ")
        assert shown.endswith(" just now · alice")
    # Without an entry, the row has a time.
    Change.objects.all().delete()
    assert {*cells(operator, "changed")} <= {"just now", "1 day ago"}


def test_flag_that_was_brought_back_was_restored(operator: Client) -> None:
    flag = make_flag("a")
    changes.flags.delete("a")
    changes.flags.undo("a")
    assert cells(operator, "changed")[0].startswith("restored ")
    for url in (RECENT, f"{FLAGS}{flag.pk}/change/"):
        assert events_of(page(operator, url))[0].removeprefix("a ").startswith("restored, ")


def test_changes_by_sql_are_shown_sorted_and_filtered(operator: Client) -> None:
    for key, days in (("d", 60), ("c", 60.0), ("b", 0.5), ("a", 0.001)):
        make_flag(key, days=days)
    execute("UPDATE flagstaff_featureflag SET rollout_percent = 7 WHERE key = 'd'")
    assert keys(operator) == ["d", "a", "b", "c"]
    assert cells(operator, "changed")[0].startswith("rollout 50 → 7 % ")
    assert keys(operator, "?changed=1h") == ["d", "a"]
    for time in ("24h", "7d", "30d"):
        assert keys(operator, f"?changed={time}") == ["d", "a", "b"]
    assert keys(operator, "?changed=not-30d") == ["c"]


def test_evaluations_are_shown_with_share_of_true_results(operator: Client, settings: Any) -> None:
    for key in ("a", "b", "c"):
        make_flag(key)
    evaluate("b", 3)
    evaluate("c", times=3)
    add_usage("c", "false", 9)
    assert cells(operator, "usage", "?o=1") == ["never", "3 days ago", "25 % true just now"]
    # The time is that of the report: no worker knows when it has evaluated a flag.
    assert Screen(page(operator)).texts("#result_list th.column-usage") == ["Usage report"]
    assert keys(operator, "?o=-3") == ["c", "b", "a"]
    assert "unused=never" in page(operator)
    settings.FLAGSTAFF = {**settings.FLAGSTAFF, "USAGE_INTERVAL": 0}
    assert cells(operator, "usage") == []
    assert "unused=never" not in page(operator)


def test_flags_served_in_bulk_are_shown_as_in_browsers_or_not_known(operator: Client) -> None:
    for key in ("a", "b", "c", "d"):
        make_flag(key)
    evaluate("a", 6)
    serve("a")
    serve("b")
    evaluate("c", 6)
    serve("c", 3, to_browsers=True)
    evaluate("d", 3)
    serve("d", 6, to_browsers=True)
    shown = cells(operator, "usage", "?o=1")
    assert shown == ["6 days ago", "not known", "in browsers 3 days ago", "3 days ago"]
    in_bulk = '[title^="Served in bulk, last recorded at "]'
    [title] = Screen(page(operator)).attributes(in_bulk, "title")
    assert title.endswith(". An evaluation of one key would be counted.")


def test_unused_flags_are_those_without_any_use_since_a_time(operator: Client) -> None:
    for key in ("browser", "bulk", "evaluated", "old", "unused"):
        make_flag(key)
    make_flag("young", days=2)
    serve("bulk", 6)
    serve("browser", 6, to_browsers=True)
    evaluate("evaluated")
    serve("old", 20)
    assert keys(operator, "?unused=7d&o=1") == ["old", "unused"]
    assert keys(operator, "?unused=30d") == ["unused"]
    assert keys(operator, "?unused=never&o=1") == ["unused", "young"]
    assert keys(operator, "?o=-3")[0] == "evaluated"


def test_stale_flags_are_filtered(operator: Client) -> None:
    collect_usage()
    make_flag("a", rollout_percent=100)
    make_flag("b")
    evaluate("b")
    assert keys(operator, "?unused=stale") == ["a"]


def test_owners_and_tags_are_shown_and_filtered(operator: Client) -> None:
    menus = ".flagstaff-menu > summary"
    assert Screen(page(operator)).texts(menus) == ["State", "Changed", "Unused", "Kind"]
    FeatureFlag.objects.create(key="a", owner="web", tags=["x", "y"])
    FeatureFlag.objects.create(key="b", owner="ADMIN")
    FeatureFlag.objects.create(key="c")
    FeatureFlag.objects.filter(key="c").update(tags={"x": 1})
    assert cells(operator, "owned_by", "?o=1") == ["web x, y", "ADMIN", ""]
    filtered = Screen(page(operator, f"{FLAGS}?owner=web&tag=x"))
    assert filtered.texts(menus)[:3] == ["State", "Owner: web", "Tag: x"]
    keys_of_owner = {"@me": ["b"], "web": ["a"], "": ["c"], "nobody": []}
    assert {owner: keys(operator, f"?owner={owner}") for owner in keys_of_owner} == keys_of_owner
    assert keys(operator, "?tag=x") == ["a"]
    assert keys(operator, "?o=-5") == ["a", "b", "c"]


@pytest.mark.usefixtures("one_of_each_state")
def test_shortcuts_have_the_numbers_of_their_lists(operator: Client) -> None:
    make_flag("old", rollout_percent=100, owner="admin")
    make_flag("partial", rollout_percent=100, rules=RULES)
    shortcuts = dict(Screen(page(operator)).part(".flagstaff-shortcuts").links)
    assert shortcuts == {
        "1 in need of attention": "?state=attention",
        "1 in rollout": "?state=rollout",
        "6 changed in 24 hours": "?changed=24h",
        "1 owned by me": "?owner=%40me",
        "1 on for all, unchanged for 30 days": "?state=all&changed=not-30d",
    }
    for text, url in shortcuts.items():
        assert len(keys(operator, url)) == int(text.partition(" ")[0])


# The search, the pages, and an empty list.


def test_search_finds_keys_descriptions_owners_and_parts_of_tags(operator: Client) -> None:
    FeatureFlag.objects.create(key="by_key_page")
    FeatureFlag.objects.create(key="by_owner", owner="page team", enabled=True)
    FeatureFlag.objects.create(key="by_tag", tags=["checkout", "Product Page"])
    FeatureFlag.objects.create(key="by_text", description="A page.")
    FeatureFlag.objects.create(key="other", tags=["checkout"])
    searches = {
        "page": ["by_key_page", "by_owner", "by_tag", "by_text"],
        "product+CHECK": ["by_tag"],
        "page&state=on": ["by_owner"],
    }
    assert {text: keys(operator, f"?o=1&q={text}") for text in searches} == searches


def test_search_keeps_the_filters_and_a_filter_keeps_the_search(operator: Client) -> None:
    html = page(operator, f"{FLAGS}?state=off&q=a")
    screen = Screen(html)
    assert screen.part("#changelist-search").fields()["state"] == "off"
    assert screen.all('a[href^="?"][href*="q=a"][href*="state=on"]')


def test_page_has_100_flags_and_more_follow(operator: Client) -> None:
    FeatureFlag.objects.bulk_create(FeatureFlag(key=f"f{n:03}") for n in range(220))
    assert keys(operator, "?o=1") == [f"f{n:03}" for n in range(100)]
    assert keys(operator, "?o=1&p=3") == [f"f{n:03}" for n in range(200, 220)]
    assert operator.get(f"{FLAGS}?p=4").headers["location"] == f"{FLAGS}?e=1"
    assert "220 flags" in page(operator)
    FeatureFlag.objects.filter(key__gte="f215").update(enabled=True)
    assert "5 results" in page(operator, f"{FLAGS}?state=on")


def test_list_without_a_match_says_what_to_do(operator: Client) -> None:
    assert "There are no flags yet." in page(operator)
    make_flag("a")
    make_flag("old_banner")
    changes.flags.delete("old_banner")
    html = page(operator, f"{FLAGS}?q=old")
    assert "No flag matches the search and the filters." in html
    url = Screen(html).link("Search the deleted flags")
    assert "old_banner" in page(operator, url)


def test_odd_parameters_are_no_error(operator: Client) -> None:
    make_flag("a", owner="web")
    time, odd = "changed_at__gte", ("p=x", "o=99.-4.x", "state=%00", "owner=%3Cb%3E")
    urls = [f"{url}?{time}=2026-01-01T00:00%2B23:59" for url in (FLAGS, VALUES)]
    urls += [f"{FLAGS}?{query}" for query in (*odd, f"{time}=x")]
    for url in urls:
        response = operator.get(url, follow=True)
        assert response.status_code == 200, url
        assert not Screen(response).all("#changelist-form b"), url


def test_button_leads_to_a_page_and_back_to_the_row(operator: Client) -> None:
    flag = FeatureFlag.objects.create(key="a", enabled=True)
    [url] = Screen(page(operator, f"{FLAGS}?q=a")).attributes(
        "#result_list a.flagstaff-button", "href"
    )
    assert url.startswith(f"{flag.pk}/kill/?back=")
    response = operator.post(FLAGS + url, {"_confirmed": "1"})
    assert response.headers["location"] == f"{FLAGS}?q=a#flag-{flag.pk}"


def test_button_that_may_not_be_used_is_disabled_and_names_the_permission(viewer: Client) -> None:
    FeatureFlag.objects.create(key="a", enabled=True)
    shown = Screen(page(viewer))
    assert not [url for _text, url in shown.links if "/kill/" in url or "/on/" in url]
    assert shown.part("button[disabled]")["aria-describedby"] == "flagstaff-why-not"
    assert "“Can toggle flag”" in shown.part("#flagstaff-why-not").text


def test_button_that_a_project_refuses_names_no_permission_that_the_user_has(
    operator: Client, settings: Any
) -> None:
    class Own(FeatureFlagAdmin):
        def has_toggle_permission(self, request: HttpRequest, obj: Any = None) -> bool:
            return False

    use_admin(settings, Own)
    FeatureFlag.objects.create(key="a", enabled=True)
    assert Screen(page(operator)).part("#flagstaff-why-not").text == "You may not do this."


# What a project changes, and what may be missing.


def test_columns_filters_and_order_of_a_project_are_kept(operator: Client, settings: Any) -> None:
    class Own(FeatureFlagAdmin):
        list_display = ("key", "kind", "changed")
        list_filter = ("enabled", *FeatureFlagAdmin.list_filter)

    FeatureFlag.objects.create(key="a", kind="ops", enabled=True, owner="web")
    FeatureFlag.objects.create(key="b", kind="permission", enabled=True)
    FeatureFlag.objects.create(key="c", kind="ops")
    use_admin(settings, Own)
    assert cells(operator, "kind", "?enabled__exact=1&o=2") == ["operations", "permission"]
    assert cells(operator, "kind", "?enabled__exact=1&owner=web") == ["operations"]


def test_selection_of_all_flags_has_those_of_the_filters(operator: Client) -> None:
    for key, owner in (("a", "web"), ("b", "shop"), ("c", "")):
        FeatureFlag.objects.create(key=key, enabled=True, owner=owner)
    data = {"action": "kill", "select_across": "1", "_selected_action": "0"}
    html = operator.post(f"{FLAGS}?owner=web", data).content.decode()
    assert listed_keys(html) == ["a"]


@pytest.mark.parametrize("table", ["flagstaff_usage", "flagstaff_change"])
def test_list_works_without_the_tables_of_numbers(table: str, operator: Client) -> None:
    make_flag("a")
    execute(f"ALTER TABLE {table} RENAME TO hidden")
    assert keys(operator) == ["a"]
    assert keys(operator, "?changed=not-30d&unused=never") == ["a"]


@pytest.mark.parametrize(("is_super", "own"), [(True, 3), (False, 5)])
def test_list_makes_few_queries_whatever_it_shows(
    is_super: bool, own: int, operator: Client, settings: Any
) -> None:
    class Own(FeatureFlagAdmin):
        def get_queryset(self, request: Any) -> Any:
            return super().get_queryset(request).exclude(key="hidden")

    collect_usage()
    for number in range(3):
        key = f"flag_{number}"
        make_flag(key, rollout_percent=100 if number else 0, owner="web", tags=["a"])
        evaluate(key)
        actor = User.objects.create_user(f"user_{number}")
        changes.flags.allow(key, actor)
        with acting_as(actor):
            changes.flags.update(key, {"description": "x"})
    make_flag("hidden", rollout_percent=100)
    rollouts.create("flag_0", ["5:1h"])
    client = operator if is_super else staff("view_featureflag", "toggle_featureflag")
    if is_super:
        use_admin(settings, Own)
    html = page(client)
    assert all(f"user_{number}" in html for number in range(3))
    assert ("hidden" in listed_keys(html)) is not is_super
    few = count_queries(client)
    assert few < MAX_QUERIES + own
    # A search, a filter and an order take one more; those of all flags two.
    for query in ("?o=-2", "?o=4", "?state=all", "?changed=24h", "?q=flag"):
        assert count_queries(client, f"{FLAGS}{query}") <= few + 1
    assert count_queries(client, f"{FLAGS}?unused=30d") <= few + 2
    more = [FeatureFlag(key=f"more_{n}", enabled=n % 2 == 0) for n in range(300)]
    FeatureFlag.objects.bulk_create(more)
    for query in ("", "?p=2"):
        assert count_queries(client, f"{FLAGS}{query}") <= few


def test_list_with_editable_rows_is_refused_by_a_check() -> None:
    class Own(FeatureFlagAdmin):
        list_display = ("key", "enabled", "rollout_percent")
        list_editable = ("rollout_percent",)

    assert [error.id for error in Own(FeatureFlag, admin.site).check()] == ["flagstaff.E048"]


TOOLS = "{% block object-tools %}<a class='tool'>Add</a>{% endblock %}"
BODY = "{{% extends 'admin/base_site.html' %}}{{% block content %}}{}{{% endblock %}}"
THEMES = {
    "Django": BODY.format(f"{TOOLS}{{% block search %}}{{% endblock %}}"),
    "Jazzmin": BODY.format(f"{{% block search %}}{TOOLS}{{% endblock %}}"),
}


@pytest.mark.parametrize("theme", THEMES)
def test_link_to_add_a_flag_is_shown_once_wherever_a_theme_has_it(
    theme: str, admin_client: Client, settings: Any
) -> None:
    templates: Any = {**settings.TEMPLATES[0], "APP_DIRS": False}
    loaders = ["django.template.loaders.app_directories.Loader"]
    of_theme = ("django.template.loaders.locmem.Loader", {"admin/change_list.html": THEMES[theme]})
    templates["OPTIONS"] = {**templates["OPTIONS"], "loaders": [of_theme, *loaders]}
    settings.TEMPLATES = [templates]
    for _render in range(2):
        assert page(admin_client, FLAGS).count("class='tool'") == 1
