"""The admin of flags: list, on/off button, page, allowed users, registration."""

from __future__ import annotations

import re
from hashlib import sha256
from typing import Any

import pytest
from django.contrib.admin import AdminSite
from django.contrib.admin.models import LogEntry
from django.contrib.auth.models import User
from django.db import connection
from django.test import Client, RequestFactory
from django.test.utils import CaptureQueriesContext

from flagstaff.admin import FeatureFlagAdmin
from flagstaff.admin.rollout import STEPS
from flagstaff.changes import set_rollout
from flagstaff.exceptions import FlagstaffError
from flagstaff.history import flag_history
from flagstaff.models import FeatureFlag
from tests.admin_pages import FLAGS, column, errors, messages_of, page, permit, staff
from tests.conftest import RunIsolated
from tests.forced_off import forced_off

pytestmark = pytest.mark.django_db

FORCED_OFF = "Forced off in this process by FLAGSTAFF_FORCE_OFF."


@pytest.fixture
def operator(admin_client: Client) -> Client:
    return admin_client


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


def buttons(html: str) -> list[str]:
    """Returns the values of the on/off buttons."""
    return re.findall(r'name="_set_enabled" value="([^"]+)"', html)


def press(client: Client, button: str, url: str = FLAGS) -> Any:
    """Posts the form of the list by an on/off button."""
    return client.post(url, {"_set_enabled": button, "action": ""}, follow=True)


def is_enabled(flag: FeatureFlag) -> bool:
    flag.refresh_from_db()
    return flag.enabled


def form(**changes: Any) -> dict[str, Any]:
    """Returns the data of a flag's form."""
    data = {"key": "new_checkout", "rollout_percent": 25, "kind": "release", "description": ""}
    return {**data, **changes}


# The list.


def test_button_returns_to_its_row(operator: Client, flag: FeatureFlag) -> None:
    query = f"{FLAGS}?enabled__exact=1"
    response = operator.post(query, {"_set_enabled": f"off:{flag.pk}"})
    assert response["Location"] == f"{query}#flag-{flag.pk}"
    assert f'id="flag-{flag.pk}"' in page(operator)


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


# The on/off button.


def test_button_turns_flag_off_at_once(operator: Client, flag: FeatureFlag) -> None:
    [button] = buttons(page(operator))
    assert messages_of(press(operator, button)) == [
        "The flag “new_checkout” is now off. Off for all users."
    ]
    assert not is_enabled(flag)


def turn_on(client: Client, flag: FeatureFlag, url: str = FLAGS) -> Any:
    """Presses the button of a disabled flag and returns the confirmation page."""
    response = client.post(url, {"_set_enabled": f"on:{flag.pk}", "action": ""})
    assert response.status_code == 200
    return response


def confirmed(response: Any, **changes: str) -> dict[str, str]:
    """Returns what a browser would post for a confirmation page."""
    html = response.content.decode().split('<form method="post">')[1]
    data = dict(re.findall(r'name="([^"]+)"[^>]* value="([^"]*)"', html))
    assert data["_confirmed"] == "1"
    return {**data, **changes}


def preview_of(response: Any) -> dict[str, list[str]]:
    """Returns the two cells of each line of a confirmation page."""
    [table] = re.findall(r"<tbody>(.*)</tbody>", response.content.decode(), re.DOTALL)
    lines = re.findall(
        r"<th.*?>(.*?)</th>.*?<td.*?>(.*?)</td>.*?<td.*?>(.*?)</td>", table, re.DOTALL
    )
    return {field: [now, after] for field, now, after in lines}


def test_button_to_turn_on_asks_and_writes_nothing(operator: Client) -> None:
    flag = make_flag(False, 60, allowed=2)
    [button] = buttons(page(operator))
    assert button == f"on:{flag.pk}"
    response = turn_on(operator, flag)
    assert preview_of(response) == {
        "state": ["off", "rollout 60 %"],
        "rollout": ["60 %", "60 %"],
        "allowed users": ["2", "2"],
        "who has the flag": [
            "Off for all users.",
            "On for 60 % of all users and 2 allowed users.",
        ],
        "users": ["0 of 3", f"{has_flag(flag)} of 3"],
    }
    assert not is_enabled(flag)


def _bucket(key: str, pk: int) -> int:
    return int(sha256(f"{key}:{pk}".encode()).hexdigest(), 16) % 100


def has_flag(flag: FeatureFlag) -> int:
    """Returns how many users would have the flag if it were enabled."""
    allowed = set(flag.allowed_users.values_list("pk", flat=True))
    pks = User.objects.values_list("pk", flat=True)
    return sum(pk in allowed or _bucket(flag.key, pk) < flag.rollout_percent for pk in pks)


def test_confirmation_turns_flag_on_with_reason(operator: Client) -> None:
    flag = make_flag(False, 60, allowed=2)
    data = confirmed(turn_on(operator, flag), _reason="release 42")
    response = operator.post(FLAGS, data, follow=True)
    assert messages_of(response) == [
        "The flag “a” is now on. On for 60 % of all users and 2 allowed users."
    ]
    assert is_enabled(flag)
    assert flag_history("a")[0].reason == "release 42"


def test_message_for_flag_without_users_says_on_for_no_users(operator: Client) -> None:
    flag = make_flag(False, 0)
    response = operator.post(FLAGS, confirmed(turn_on(operator, flag)), follow=True)
    assert messages_of(response) == [
        (
            "The flag “a” is now on. On for no users: the rollout is 0 % and there are no "
            "allowed users."
        )
    ]


def test_confirmation_over_newer_change_is_rejected(operator: Client) -> None:
    flag = make_flag(False, 5)
    data = confirmed(turn_on(operator, flag))
    set_rollout("a", 100)
    [message] = messages_of(operator.post(FLAGS, data, follow=True))
    assert message.startswith("Not saved: a has version")
    assert not is_enabled(flag)


def test_confirmation_is_shown_if_users_cannot_be_counted(
    operator: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_args: object, **_kwargs: object) -> None:
        raise FlagstaffError("the users could not be counted within the timeout")

    monkeypatch.setattr("flagstaff.admin.flag_state.impact_of_change", fail)
    assert "users" not in preview_of(turn_on(operator, make_flag(False, 60)))


def test_button_to_turn_on_of_enabled_flag_asks_nothing(
    operator: Client, flag: FeatureFlag
) -> None:
    response = press(operator, f"on:{flag.pk}")
    assert messages_of(response) == ["The flag “new_checkout” was already on."]


def test_confirmation_keeps_search_and_filter(operator: Client) -> None:
    flag = make_flag(False, 60)
    url = f"{FLAGS}?q=a&enabled__exact=0"
    response = turn_on(operator, flag, url)
    assert (
        f'href="{url.replace("&", "&amp;")}" class="flagstaff-cancel"' in response.content.decode()
    )
    response = operator.post(url, confirmed(response))
    assert response["Location"] == f"{url}#flag-{flag.pk}"


def test_button_changes_only_enabled(operator: Client, flag: FeatureFlag) -> None:
    alice = User.objects.create(username="alice")
    flag.allowed_users.add(alice)
    changed_at = flag.changed_at
    press(operator, f"off:{flag.pk}")
    flag.refresh_from_db()
    assert (flag.rollout_percent, *flag.allowed_users.all()) == (25, alice)
    assert flag.changed_at > changed_at


def test_second_press_of_same_button_changes_nothing(operator: Client, flag: FeatureFlag) -> None:
    press(operator, f"off:{flag.pk}")
    flag.refresh_from_db()
    changed_at = flag.changed_at
    second = press(operator, f"off:{flag.pk}")
    assert messages_of(second) == ["The flag “new_checkout” was already off."]
    assert not is_enabled(flag)
    assert flag.changed_at == changed_at
    assert LogEntry.objects.count() == 1


def test_button_writes_log_entry(operator: Client, flag: FeatureFlag) -> None:
    press(operator, f"off:{flag.pk}")
    entry = LogEntry.objects.get()
    assert (entry.user.get_username(), entry.object_id) == ("admin", str(flag.pk))
    assert entry.get_change_message() == "The flag “new_checkout” is now off. Off for all users."


def test_get_request_with_button_changes_nothing(operator: Client, flag: FeatureFlag) -> None:
    operator.get(FLAGS, {"_set_enabled": f"off:{flag.pk}"})
    assert is_enabled(flag)


def test_press_without_csrf_token_is_rejected(admin_user: User, flag: FeatureFlag) -> None:
    operator = Client(enforce_csrf_checks=True)
    operator.force_login(admin_user)
    assert operator.post(FLAGS, {"_set_enabled": f"off:{flag.pk}"}).status_code == 403
    assert is_enabled(flag)


def test_list_form_has_csrf_token_for_buttons(admin_user: User, flag: FeatureFlag) -> None:
    operator = Client(enforce_csrf_checks=True)
    operator.force_login(admin_user)
    [form] = re.findall(r'<form id="changelist-form".*?</form>', page(operator), re.DOTALL)
    [token] = re.findall(r'name="csrfmiddlewaretoken" value="(\w+)"', form)
    [button] = buttons(form)
    operator.post(FLAGS, {"_set_enabled": button, "csrfmiddlewaretoken": token})
    assert not is_enabled(flag)


@pytest.mark.parametrize("query", ["", "?q=flag&enabled__exact=1&o=-1&p=2"])
def test_press_keeps_search_filter_and_page(query: str, operator: Client) -> None:
    FeatureFlag.objects.bulk_create([FeatureFlag(key=f"flag{n}", enabled=True) for n in range(102)])
    before = page(operator, FLAGS + query)
    button, *_others = buttons(before)
    response = press(operator, button, FLAGS + query)
    anchor = f"#flag-{button.removeprefix('off:')}"
    assert response.redirect_chain == [(FLAGS + query + anchor, 302)]
    assert response.status_code == 200
    # The filter "enabled" hides the flag that is now off.
    assert len(buttons(response.content.decode())) == len(buttons(before)) - bool(query)


@pytest.mark.parametrize("button", ["off:0", "off:", "off:x", "off:9" + "9" * 30, "off:\x00"])
def test_press_for_missing_flag_shows_error(
    button: str, operator: Client, flag: FeatureFlag
) -> None:
    assert messages_of(press(operator, button)) == ["This flag no longer exists."]
    assert is_enabled(flag)


@pytest.mark.parametrize("word", ["", "OFF", "toggle"])
def test_press_with_unknown_word_changes_nothing(
    word: str, operator: Client, flag: FeatureFlag
) -> None:
    assert messages_of(press(operator, f"{word}:{flag.pk}")) == ["This flag no longer exists."]
    assert is_enabled(flag)


def test_list_without_change_permission_has_no_button(viewer: Client, flag: FeatureFlag) -> None:
    html = page(viewer)
    assert column(html, "state") == ["rollout 25 %"]
    assert buttons(html) == column(html, "on_off") == []


@pytest.mark.parametrize("button", ["off:{}", "off:0", "toggle:{}"])
def test_press_without_change_permission_is_rejected(
    button: str, viewer: Client, flag: FeatureFlag
) -> None:
    assert press(viewer, button.format(flag.pk)).status_code == 403
    assert is_enabled(flag)


def test_press_when_logged_out_redirects_to_login(flag: FeatureFlag) -> None:
    response = press(Client(), f"off:{flag.pk}")
    assert response.redirect_chain[0][0].startswith("/admin/login/")
    assert is_enabled(flag)


# The change form.


def test_page_has_button_for_each_rollout_step(operator: Client, flag: FeatureFlag) -> None:
    html = page(operator, f"{FLAGS}{flag.pk}/change/")
    [steps] = re.findall(r'data-flagstaff-steps="id_rollout_percent">.*?</span>', html, re.DOTALL)
    assert STEPS == (0, 1, 5, 25, 50, 100)
    assert re.findall(r'type="button"[^>]* value="(\d+)"', steps) == [str(step) for step in STEPS]
    assert 'src="/static/flagstaff/rollout.js"' in html


def test_change_form_saves_flag(operator: Client, flag: FeatureFlag) -> None:
    data = form(enabled="on", rollout_percent=50)
    operator.post(f"{FLAGS}{flag.pk}/change/", data)
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
    output = run_isolated(REGISTERED, FLAGSTAFF=settings, DJANGO_SETTINGS_MODULE="tests.settings")
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
        assert messages_of(operator.get(url)) == [FORCED_OFF]
        # The page of a rejected form says so too.
        rejected = operator.post(url, {"key": ""})
        assert FORCED_OFF in messages_of(rejected)
    assert messages_of(operator.get(url)) == []


def test_page_of_a_new_flag_does_not_say_that_it_is_forced_off(operator: Client) -> None:
    with forced_off(["new_checkout"]):
        assert messages_of(operator.get(f"{FLAGS}add/")) == []
