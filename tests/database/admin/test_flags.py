"""The admin of flags: list, page, allowed users, registration."""

from __future__ import annotations

import re
from typing import Any

import pytest
from django.contrib.admin import AdminSite
from django.contrib.auth.models import User
from django.test import Client

from flagstaff import rollouts
from flagstaff.admin import FeatureFlagAdmin
from flagstaff.admin.flag.form.inputs import STEPS
from flagstaff.models import FeatureFlag
from tests.support.admin_pages import (
    FLAGS,
    column,
    errors,
    flag_url,
    kill,
    page,
    permit,
    staff,
    state,
)
from tests.support.forced_off import forced_off
from tests.support.sql import rows as execute
from tests.support.views import request_of

pytestmark = pytest.mark.django_db
FORCED_OFF = "Forced off in this process by FLAGSTAFF_FORCE_OFF."


def make_users(count: int) -> list[User]:
    return User.objects.bulk_create([User(username=f"user{n}") for n in range(count)])


def notices_of(html: str) -> list[str]:
    """Returns the notices at the top of the page of a flag."""
    return re.findall(r'<p class="flagstaff-notice[^"]*">(.*?)</p>', html)


def form(**changes: Any) -> dict[str, Any]:
    """Returns the data of a flag's form."""
    data = {"key": "new_checkout", "rollout_percent": 25, "kind": "release", "description": ""}
    return {**data, **changes}


def test_list_shows_description_rollout_and_allowed_users(operator: Client) -> None:
    flag = FeatureFlag.objects.create(key="a", rollout_percent=25, description="long " * 100)
    flag.allowed_users.set(make_users(3))
    FeatureFlag.objects.create(key="<b>", description="<script>", enabled=True, kind="ops")
    html = page(operator)
    assert "&lt;script&gt;" in html
    assert "<b>" not in html
    assert column(html, "rollout")[1] == "25 % 3 allowed users"
    other, shown = column(html, "flag")
    assert len(shown) < 250
    assert shown.endswith("…")
    for query in ("q=a", "q=long long", "enabled__exact=0", "kind__exact=release"):
        assert column(page(operator, f"{FLAGS}?{query}"), "flag") == [shown]
    for query in ("enabled__exact=1", "kind__exact=ops"):
        assert column(page(operator, f"{FLAGS}?{query}"), "flag") == [other]


def test_admin_without_user_admin_has_no_autocomplete_and_editable_rows_are_refused(
    admin_user: User,
) -> None:
    class Own(FeatureFlagAdmin):
        list_display = ("key", "enabled", "rollout_percent")
        list_editable = ("rollout_percent",)

    own = Own(FeatureFlag, AdminSite())
    assert [found.id for found in own.check()] == ["flagstaff.E048"]
    assert list(own.get_autocomplete_fields(request_of(admin_user))) == []


def test_delete_page_counts_allowed_users(operator: Client, flag: FeatureFlag) -> None:
    flag.allowed_users.set(make_users(3))
    data = {"action": "delete_selected", "_selected_action": flag.pk}
    for response in (
        operator.get(f"{FLAGS}{flag.pk}/delete/"),
        operator.post(FLAGS, data),
    ):
        html = response.content.decode()
        assert re.search(r"<t[dh][^>]*>3</td>", html)
        assert "FeatureFlag_allowed_users" not in html
        assert "relationship" not in html


def test_page_has_button_for_each_rollout_step(operator: Client, flag: FeatureFlag) -> None:
    assert STEPS == (0, 1, 5, 25, 50, 100)
    html = page(operator, flag_url(flag))
    [steps] = re.findall(r'data-flagstaff-steps="id_rollout_percent">.*?</span>', html, re.DOTALL)
    assert re.findall(r'type="button"[^>]* value="(\d+)"', steps) == [*map(str, STEPS)]
    assert 'src="/static/flagstaff/rollout.js"' in html


def test_add_form_creates_flag(operator: Client) -> None:
    html = page(operator, f"{FLAGS}add/")
    assert "too many" not in html
    assert "field-created_at" not in html
    assert "DatabaseDefault" not in html
    # Users can be searched.
    assert 'class="admin-autocomplete"' in html
    assert "vManyToManyRawIdAdminField" not in html
    operator.post(f"{FLAGS}add/", form())
    assert FeatureFlag.objects.get().key == "new_checkout"


@pytest.mark.parametrize(
    ("field", "text", "message"),
    [
        ("rollout_percent", "101", "Ensure this value is less than or equal to 100."),
        ("rollout_percent", "-1", "Ensure this value is greater than or equal to 0."),
        ("rollout_percent", "2.5", "Enter a whole number."),
        ("rollout_percent", "", "This field is required."),
        ("key", "new:checkout", 'the key has a ":" at position 4; use letters, digits, "_", "-"'),
        ("key", "new_checkout", "Flag with this Key already exists."),
    ],
)
def test_invalid_field_is_rejected(
    field: str, text: str, message: str, operator: Client, flag: FeatureFlag
) -> None:
    found = errors(operator, f"{FLAGS}add/", form(**{"key": "other", field: text}))
    assert list(found) == [field]
    assert found[field][0].startswith(message)


def test_allowed_users_of_new_flag_are_primary_keys_without_view_user_permission() -> None:
    users = make_users(2)
    client = staff("add_featureflag")
    html = page(client, f"{FLAGS}add/")
    assert "Primary keys of users, separated by commas." in html
    # The link to the list of users would be a 403.
    assert (html.count('name="allowed_users"'), html.count("/admin/auth/user/")) == (1, 0)
    client.post(f"{FLAGS}add/", form(allowed_users=",".join(str(user.pk) for user in users)))
    assert set(FeatureFlag.objects.get().allowed_users.all()) == set(users)
    # A filter would say who is an allowed user.
    query = f"{FLAGS}?allowed_users__id__exact=1"
    permit(User.objects.get(username="staff"), "view_featureflag")
    assert client.get(query).status_code == 400
    permit(User.objects.get(username="staff"), "view_user")
    assert client.get(query).status_code == 200


def test_list_and_page_say_which_flags_are_forced_off(operator: Client, flag: FeatureFlag) -> None:
    FeatureFlag.objects.create(key="banner")
    url = f"{FLAGS}{flag.pk}/change/"
    with forced_off(["new_checkout"]):
        assert FORCED_OFF in column(page(operator), "flag")[1]
        assert notices_of(page(operator, url)) == [FORCED_OFF]
        # The page of a rejected form says so too.
        rejected = operator.post(url, {"key": ""})
        assert notices_of(rejected.content.decode()) == [FORCED_OFF]
        assert FORCED_OFF not in page(operator, f"{FLAGS}add/")
    assert FORCED_OFF not in page(operator)
    assert notices_of(page(operator, url)) == []


@pytest.mark.parametrize(
    "statement",
    [
        "ALTER TABLE flagstaff_rollouts_plan RENAME TO another",
        "UPDATE flagstaff_rollouts_plan SET state = 'pending', step = 0, steps = '3'",
        "UPDATE flagstaff_rollouts_plan SET steps = 'null', step = 99",
    ],
)
def test_list_page_and_kill_work_without_the_table_of_an_optional_app(
    statement: str, operator: Client, flag: FeatureFlag, caplog: pytest.LogCaptureFixture
) -> None:
    rollouts.create(flag.key, ["50:1h"])
    execute(statement)
    for url in (FLAGS, flag_url(flag)):
        assert flag.key in page(operator, url)
    kill(operator, flag)
    assert state(flag) == (False, 25)
    assert "flagstaff_rollouts cannot show its part of the flags" in caplog.text
