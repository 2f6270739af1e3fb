"""The admin of flags: list, page, allowed users, registration."""

from __future__ import annotations

import re
from typing import Any

import pytest
from django.contrib.admin import AdminSite
from django.contrib.auth.models import User
from django.db import connection
from django.test import Client, RequestFactory
from django.test.utils import CaptureQueriesContext

from flagstaff.admin import FeatureFlagAdmin
from flagstaff.admin.rollout import STEPS
from flagstaff.models import FeatureFlag
from tests.support.admin_pages import (
    FLAGS,
    column,
    errors,
    page,
    permit,
    post_confirmed,
    staff,
)
from tests.conftest import RunIsolated
from tests.support.forced_off import forced_off

pytestmark = pytest.mark.django_db

FORCED_OFF = "Forced off in this process by FLAGSTAFF_FORCE_OFF."


@pytest.fixture
def viewer() -> Client:
    return staff("view_featureflag")


@pytest.fixture
def editor() -> Client:
    """May change flags, but not view users."""
    return staff("change_featureflag")


@pytest.fixture
def flag() -> FeatureFlag:
    return FeatureFlag.objects.create(key="new_checkout", enabled=True, rollout_percent=25)


def make_flag(enabled: bool, rollout_percent: int, allowed: int = 0) -> FeatureFlag:
    flag = FeatureFlag.objects.create(
        key="a", enabled=enabled, rollout_percent=rollout_percent, description="The new checkout."
    )
    flag.allowed_users.set(make_users(allowed))
    return flag


def make_users(count: int) -> list[User]:
    return User.objects.bulk_create([User(username=f"user{n}") for n in range(count)])


def notices_of(html: str) -> list[str]:
    """Returns the notices at the top of the page of a flag."""
    return re.findall(r'<p class="flagstaff-notice">(.*?)</p>', html)


def form(**changes: Any) -> dict[str, Any]:
    """Returns the data of a flag's form."""
    data = {"key": "new_checkout", "rollout_percent": 25, "kind": "release", "description": ""}
    return {**data, **changes}


# The list.


@pytest.mark.parametrize(
    ("flag", "word"),
    [
        ((False, 100, 1), "off"),
        ((True, 100, 1), "on for all"),
        ((True, 25, 1), "rollout 25 %"),
        ((True, 0, 1), "allowed users only"),
        ((True, 0, 0), "on for no users"),
    ],
    ids=str,
)
def test_list_shows_state_of_flag(flag: tuple[bool, int, int], word: str, operator: Client) -> None:
    make_flag(*flag)
    assert column(page(operator), "state") == [word]


def test_list_shows_description_rollout_and_allowed_users(operator: Client) -> None:
    make_flag(True, 25, allowed=3)
    html = page(operator)
    assert column(html, "flag") == ["aThe new checkout."]
    assert (column(html, "rollout"), column(html, "allowed")) == (["25 %"], ["3"])
    [changed] = column(html, "changed")
    assert changed.startswith("created ")
    assert changed.endswith(" · just now")


def test_long_description_is_truncated_in_list(operator: Client) -> None:
    FeatureFlag.objects.create(key="a", description="long " * 100)
    [shown] = column(page(operator), "flag")
    assert len(shown) == 101
    assert shown.endswith("…")


def test_key_and_description_are_escaped(operator: Client) -> None:
    FeatureFlag.objects.create(key="<b>", description="<script>")
    html = page(operator)
    assert "&lt;script&gt;" in html
    assert "<b>" not in html


@pytest.mark.parametrize("words", ["checkout", "one page"])
def test_search_matches_key_and_description(words: str, operator: Client) -> None:
    FeatureFlag.objects.create(key="new_checkout", description="Everything on one page.")
    FeatureFlag.objects.create(key="banner")
    [found] = column(page(operator, f"{FLAGS}?q={words}"), "flag")
    assert found.startswith("new_checkout")


@pytest.mark.parametrize("query", ["enabled__exact=1", "kind__exact=ops"])
def test_list_filter_selects_flags(query: str, operator: Client) -> None:
    FeatureFlag.objects.create(key="match", enabled=True, kind="ops")
    FeatureFlag.objects.create(key="other")
    assert column(page(operator, f"{FLAGS}?{query}"), "flag") == ["match"]


def test_list_can_be_sorted_by_number_of_allowed_users(operator: Client) -> None:
    for key, count in (("a", 1), ("b", 0), ("c", 2)):
        FeatureFlag.objects.create(key=key).allowed_users.set(
            User.objects.create(username=f"{key}{n}") for n in range(count)
        )
    assert column(page(operator, f"{FLAGS}?o=-5"), "flag") == ["c", "a", "b"]


def test_list_whose_rows_can_be_edited_is_refused() -> None:
    class Own(FeatureFlagAdmin):
        list_display = ("key", "enabled", "rollout_percent")
        list_editable = ("rollout_percent",)

    assert [found.id for found in Own(FeatureFlag, AdminSite()).check()] == ["flagstaff.E048"]


def test_list_query_count_does_not_grow_with_flags(operator: Client) -> None:
    make_flag(True, 25, allowed=3)
    FeatureFlag.objects.create(key="off")
    page(operator)  # Fills Django's caches.
    with CaptureQueriesContext(connection) as few:
        page(operator)
    FeatureFlag.objects.bulk_create([FeatureFlag(key=f"flag{n}") for n in range(50)])
    with CaptureQueriesContext(connection) as many:
        page(operator)
    assert len(many) == len(few) <= 30


def test_delete_action_of_list_deletes_flags(operator: Client, flag: FeatureFlag) -> None:
    data = {"action": "delete_selected", "_selected_action": flag.pk, "post": "yes"}
    operator.post(FLAGS, data)
    assert not FeatureFlag.objects.exists()


def test_delete_page_counts_links_to_allowed_users(operator: Client, flag: FeatureFlag) -> None:
    flag.allowed_users.set(make_users(3))
    data = {"action": "delete_selected", "_selected_action": flag.pk}
    for response in (
        operator.get(f"{FLAGS}{flag.pk}/delete/"),
        operator.post(FLAGS, data),
    ):
        html = response.content.decode()
        assert "Links to allowed users: 3" in html
        assert "FeatureFlag_allowed_users" not in html
        assert "relationship" not in html
        assert f">{flag.key}</a></li>" in html


# The change form.


def test_page_has_button_for_each_rollout_step(operator: Client, flag: FeatureFlag) -> None:
    html = page(operator, f"{FLAGS}{flag.pk}/change/")
    [steps] = re.findall(r'data-flagstaff-steps="id_rollout_percent">.*?</span>', html, re.DOTALL)
    assert STEPS == (0, 1, 5, 25, 50, 100)
    assert re.findall(r'type="button"[^>]* value="(\d+)"', steps) == [str(step) for step in STEPS]
    assert 'src="/static/flagstaff/rollout.js"' in html


def test_change_form_saves_flag(operator: Client, flag: FeatureFlag) -> None:
    data = form(enabled="on", rollout_percent=50)
    post_confirmed(operator, f"{FLAGS}{flag.pk}/change/", data)
    flag.refresh_from_db()
    assert (flag.enabled, flag.rollout_percent) == (True, 50)


def test_add_form_creates_flag(operator: Client) -> None:
    assert "too many" not in page(operator, f"{FLAGS}add/")
    operator.post(f"{FLAGS}add/", form())
    assert FeatureFlag.objects.get().key == "new_checkout"


def test_add_form_has_no_times(operator: Client) -> None:
    html = page(operator, f"{FLAGS}add/")
    assert "field-created_at" not in html
    assert "DatabaseDefault" not in html


@pytest.mark.parametrize(
    ("percent", "message"),
    [
        ("101", "Ensure this value is less than or equal to 100."),
        ("-1", "Ensure this value is greater than or equal to 0."),
        ("2.5", "Enter a whole number."),
        ("", "This field is required."),
    ],
)
def test_invalid_percent_is_rejected(percent: str, message: str, operator: Client) -> None:
    data = form(rollout_percent=percent)
    assert errors(operator, f"{FLAGS}add/", data) == {"rollout_percent": [message]}


def test_key_with_colon_is_rejected(operator: Client) -> None:
    message = (
        'the key has a ":" at position 4; '
        'use letters, digits, "_", "-" or ".", such as "new_checkout"'
    )
    assert errors(operator, f"{FLAGS}add/", form(key="new:checkout")) == {"key": [message]}


def test_duplicate_key_is_rejected(operator: Client, flag: FeatureFlag) -> None:
    message = "Feature flag with this Key already exists."
    assert errors(operator, f"{FLAGS}add/", form()) == {"key": [message]}


# Allowed users.


def test_allowed_users_of_new_flag_have_autocomplete_if_users_are_searchable(
    operator: Client,
) -> None:
    html = page(operator, f"{FLAGS}add/")
    assert 'class="admin-autocomplete"' in html
    assert "vManyToManyRawIdAdminField" not in html


def test_allowed_users_of_new_flag_are_primary_keys_without_view_user_permission() -> None:
    users = make_users(2)
    client = staff("add_featureflag")
    html = page(client, f"{FLAGS}add/")
    assert "Primary keys of users, separated by commas." in html
    # The link to the list of users would be a 403.
    assert (html.count('name="allowed_users"'), html.count("/admin/auth/user/")) == (1, 0)
    client.post(f"{FLAGS}add/", form(allowed_users=",".join(str(user.pk) for user in users)))
    assert set(FeatureFlag.objects.get().allowed_users.all()) == set(users)


def test_filter_by_user_needs_view_user_permission(viewer: Client, flag: FeatureFlag) -> None:
    query = f"{FLAGS}?allowed_users__id__exact=1"
    assert viewer.get(query).status_code == 400
    permit(User.objects.get(username="staff"), "view_user")
    assert viewer.get(query).status_code == 200


def test_allowed_users_have_no_autocomplete_without_user_admin(admin_user: User) -> None:
    request = RequestFactory().get("/")
    request.user = admin_user
    flag_admin = FeatureFlagAdmin(FeatureFlag, AdminSite())
    assert list(flag_admin.get_autocomplete_fields(request)) == []


# Registration.

REGISTERED = """
import django, os
from django.conf import settings
settings.FLAGSTAFF = eval(os.environ["FLAGSTAFF"])
django.setup()
from django.contrib.admin import site
from flagstaff.models import FeatureFlag, KeyValueStore, Segment
print(*map(site.is_registered, (FeatureFlag, KeyValueStore, Segment)))
"""


@pytest.mark.parametrize(
    ("settings", "registered"),
    [
        ("{}", "True True True"),
        # Without a column for rules, no rule can name a segment.
        ("{'FLAG_MODEL': 'auth.Group'}", "False True False"),
        ("{'VALUE_MODEL': 'auth.Group'}", "True False True"),
        # A system check reports the error.
        ("{'FLAG_MODEL': 'nowhere.Flag'}", "True True True"),
    ],
)
def test_replaced_model_has_no_admin(
    settings: str, registered: str, run_isolated: RunIsolated
) -> None:
    output = run_isolated(REGISTERED, FLAGSTAFF=settings, DJANGO_SETTINGS_MODULE="tests.support.settings")
    assert output.strip() == registered


def test_list_says_which_flags_are_forced_off(operator: Client, flag: FeatureFlag) -> None:
    FeatureFlag.objects.create(key="banner")
    with forced_off(["new_checkout"]):
        states = column(page(operator), "state")
    assert states == ["off", f"rollout 25 % {FORCED_OFF}"]
    assert column(page(operator), "state") == ["off", "rollout 25 %"]


def test_page_says_that_the_flag_is_forced_off(operator: Client, flag: FeatureFlag) -> None:
    url = f"{FLAGS}{flag.pk}/change/"
    with forced_off(["new_checkout"]):
        assert notices_of(page(operator, url)) == [FORCED_OFF]
        # The page of a rejected form says so too.
        rejected = operator.post(url, {"key": ""})
        assert notices_of(rejected.content.decode()) == [FORCED_OFF]
    assert notices_of(page(operator, url)) == []


def test_page_of_a_new_flag_does_not_say_that_it_is_forced_off(operator: Client) -> None:
    with forced_off(["new_checkout"]):
        assert FORCED_OFF not in page(operator, f"{FLAGS}add/")
