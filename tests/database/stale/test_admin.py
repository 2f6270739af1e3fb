"""The page of stale flags in the admin, and what the pages of flags show of them."""

from __future__ import annotations

import re
from datetime import date, timedelta

import pytest
from django.contrib.admin.models import LogEntry
from django.test import Client
from django.utils import timezone
from django.utils.html import strip_tags

from flagstaff import changes, experiments
from flagstaff.admin.flag.admin import FeatureFlagAdmin
from flagstaff.cleanup.models import Snooze
from flagstaff.models import Change, FeatureFlag
from tests.support.admin_pages import (
    FLAGS,
    column,
    confirmed,
    count_queries,
    messages_of,
    page,
    staff,
)
from tests.support.sql import rows
from tests.support.stale_flags import (
    KEY,
    age_history,
    collect_usage,
    evaluate,
    make_flag,
    set_columns,
)

pytestmark = pytest.mark.django_db

STALE = "/admin/flagstaff/staleflag/"


def day(ahead: int) -> str:
    return (timezone.localdate() + timedelta(days=ahead)).isoformat()


def text(html: str) -> str:
    content = html.partition('id="content"')[2].replace("<", " <")
    return " ".join(strip_tags(content).split())


@pytest.fixture(autouse=True)
def shipped() -> FeatureFlag:
    """A flag that is on for everyone since 41 days, and one that is not stale."""
    Change.objects.all().delete()
    collect_usage()
    flag = make_flag()
    changes.set_rollout(KEY, 100)
    age_history(41, flag)
    evaluate(KEY)
    make_flag("dark_mode")
    evaluate("dark_mode")
    return flag


def snooze(client: Client, **data: str) -> list[str]:
    """The messages after the form of the flag was sent."""
    form = {"_snooze": KEY, "until": day(10), **data}
    return messages_of(client.post(STALE, form, follow=True))


def test_page_lists_stale_flags_with_evidence_owner_and_next_steps(
    admin_client: Client, shipped: FeatureFlag, monkeypatch: pytest.MonkeyPatch
) -> None:
    set_columns(monkeypatch, shipped, owner="web", tags=["q3"])
    html = page(admin_client, STALE)
    assert "On for all users for 41 days, since " in text(html)
    assert ">web</td>" in html
    assert ">q3</td>" in html
    assert "dark_mode" not in text(html)
    assert f'href="{FLAGS}{shipped.pk}/change/"' in html
    assert f">python manage.py flags references {KEY} --result {KEY}=on --diff</code>" in html
    assert 'data-label="Age">41 days</td>' in html
    assert f'href="{FLAGS}{shipped.pk}/delete/"' in html


def test_page_without_a_stale_flag_says_so(admin_client: Client) -> None:
    changes.set_rollout(KEY, 50)
    assert "No flag is stale." in text(page(admin_client, STALE))
    FeatureFlag.objects.all().delete()
    assert "No flag is stale." in text(page(admin_client, STALE))


def test_snooze_moves_the_flag_to_the_second_table_until_its_end(
    admin_client: Client, shipped: FeatureFlag
) -> None:
    [message] = snooze(admin_client, _reason="used in winter")
    assert message.startswith(f"The flag “{KEY}” is snoozed until ")
    row = Snooze.objects.get()
    assert (row.flag_pk, row.reason) == (str(shipped.pk), "used in winter")
    assert row.until.isoformat() == day(10)
    html = page(admin_client, STALE)
    assert "No flag is stale." in text(html)
    assert "used in winter" in html
    assert ">admin</td>" in html
    assert LogEntry.objects.get().change_message == message
    response = admin_client.post(STALE, {"_end_snooze": KEY}, follow=True)
    assert messages_of(response) == [f"The flag “{KEY}” is no longer snoozed."]
    assert not Snooze.objects.exists()


@pytest.mark.parametrize("until", ["", "2020-01-31", "2099-02-31", "x", "2" * 99])
def test_date_that_is_not_in_the_future_is_refused(admin_client: Client, until: str) -> None:
    assert snooze(admin_client, until=until) == ["Not saved: choose a date in the future."]
    assert not Snooze.objects.exists()


def test_form_that_is_refused_stays_open_with_what_was_typed(admin_client: Client) -> None:
    make_flag("old_banner", enabled=False)
    form = {"_snooze": KEY, "until": "2020-01-31", "_reason": "used in <winter>"}
    html = admin_client.post(STALE, form).content.decode()
    [opened] = re.findall(r"<details[^>]* open>.*?</details>", html, re.DOTALL)
    assert f'value="{KEY}"' in opened
    assert 'value="2020-01-31"' in opened
    assert 'value="used in &lt;winter&gt;"' in opened
    assert "Not saved: choose a date in the future." in opened


def test_flag_that_was_deleted_meanwhile_is_reported(admin_client: Client) -> None:
    changes.delete(KEY)
    assert snooze(admin_client) == ["This flag no longer exists."]


def test_user_who_may_view_flags_sees_the_page_without_forms() -> None:
    client = staff("view_featureflag")
    html = page(client, STALE)
    assert KEY in html
    assert 'name="_snooze"' not in html
    assert "/delete/" not in html
    assert client.post(STALE, {"_snooze": KEY, "until": day(9)}).status_code == 403
    assert not Snooze.objects.exists()


def test_permission_to_change_flags_allows_to_snooze() -> None:
    client = staff("view_keyvaluestore")
    assert client.get(STALE).status_code == 403
    assert client.post(STALE, {"_snooze": KEY, "until": day(9)}).status_code == 403
    assert len(snooze(staff("change_featureflag", name="other"))) == 1
    assert Snooze.objects.get().key == KEY


def test_form_needs_the_token_of_the_session(admin_client: Client) -> None:
    client = Client(enforce_csrf_checks=True)
    client.cookies = admin_client.cookies
    assert client.post(STALE, {"_snooze": KEY, "until": day(9)}).status_code == 403


def test_list_of_flags_links_to_the_page_and_marks_stale_flags(admin_client: Client) -> None:
    assert f'href="{STALE}">Stale flags' in page(admin_client, "/admin/")
    html = page(admin_client)
    assert f'<a href="{STALE}">Stale flags</a>' in html
    stale, fresh = column(html, "flag")[::-1]
    assert "stale: constant" in stale
    assert "stale" not in fresh
    snooze(admin_client)
    assert "stale: constant" not in page(admin_client)


def test_page_of_a_flag_shows_its_signals(admin_client: Client, shipped: FeatureFlag) -> None:
    url = f"{FLAGS}{shipped.pk}/change/"
    shown = text(page(admin_client, url))
    assert "stale On for all users for 41 days, since " in shown
    snooze(admin_client, _reason="used in winter")
    assert re.search(r"Snoozed until .*\. Reason: used in winter", text(page(admin_client, url)))
    other = FeatureFlag.objects.get(key="dark_mode")
    assert "The flag is not stale." in text(page(admin_client, f"{FLAGS}{other.pk}/change/"))


def test_pages_say_what_is_not_known(admin_client: Client, shipped: FeatureFlag) -> None:
    collect_usage(5)
    shown = text(page(admin_client, STALE))
    assert "It is not known whether dark_mode, new_checkout were evaluated: usage is known" in shown
    shown = text(page(admin_client, f"{FLAGS}{shipped.pk}/change/"))
    assert "On for all users for 41 days" in shown
    assert f"It is not known whether {KEY} was evaluated: " in shown


# The list: two of the session, three of Django's list, one of the filters, one of plans.
@pytest.mark.parametrize(("url", "limit"), [(FLAGS, 13), (STALE, 10)])
def test_list_and_page_make_the_same_queries_for_many_flags(
    url: str, limit: int, admin_client: Client
) -> None:
    make_flag("unused", rollout_percent=100)
    page(admin_client, url)  # Fills Django's caches.
    few = count_queries(admin_client, url)
    for number in range(20):
        make_flag(f"flag_{number}", rollout_percent=100)
    assert count_queries(admin_client, url) == few <= limit


def test_list_that_defers_columns_marks_stale_flags(
    admin_client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    queryset = FeatureFlagAdmin.get_queryset
    monkeypatch.setattr(
        FeatureFlagAdmin,
        "get_queryset",
        lambda self, request: queryset(self, request).defer("tags", "review_on"),
    )
    assert "stale: constant" in column(page(admin_client), "flag")[1]


def test_key_owner_tags_and_reason_are_escaped(admin_client: Client, shipped: FeatureFlag) -> None:
    FeatureFlag.objects.filter(pk=shipped.pk).update(
        key="<i>odd</i>", owner="<i>web</i>", tags=["<i>a</i>"]
    )
    assert "<i>" not in page(admin_client, STALE)
    snooze(admin_client, _snooze="<i>odd</i>", _reason="<i>winter</i>")
    assert Snooze.objects.exists()
    for url in (STALE, FLAGS, f"{FLAGS}{shipped.pk}/change/"):
        assert "<i>" not in page(admin_client, url)


def test_page_hands_a_shipped_experiment_over(admin_client: Client) -> None:
    assert "Ended" not in page(admin_client, STALE)
    experiments.create("checkout_button")
    experiments.start("checkout_button")
    experiments.ship("checkout_button", "treatment")
    html = page(admin_client, STALE)
    assert "The experiment checkout_button has given everyone treatment since" in html
    assert "python manage.py flags references checkout_button</code>" in html


def test_missing_table_of_the_app_says_what_to_run(
    admin_client: Client, shipped: FeatureFlag
) -> None:
    rows("DROP TABLE flagstaff_cleanup_snooze")
    assert "manage.py migrate" in page(admin_client, STALE)
    form = {"_snooze": KEY, "until": "2099-01-31"}
    assert "manage.py migrate" in admin_client.post(STALE, form, follow=True).content.decode()
    assert admin_client.post(STALE, {"_end_snooze": KEY}, follow=True).status_code == 200
    assert KEY in page(admin_client, FLAGS)
    assert KEY in page(admin_client, f"{FLAGS}{shipped.pk}/change/")


@pytest.mark.thorough
def test_page_with_a_thousand_flags_lists_each_of_them(admin_client: Client) -> None:
    FeatureFlag.objects.bulk_create(
        FeatureFlag(key=f"flag_{number}", review_on=date(2020, 1, 31)) for number in range(1_000)
    )
    # One more flag is stale.
    assert page(admin_client, STALE).count("flagstaff-evidence") == 1_001


def test_several_flags_are_snoozed_and_the_page_is_shown_again(
    admin_client: Client, shipped: FeatureFlag
) -> None:
    html = page(admin_client, STALE)
    [(url, form)] = re.findall(
        r'<form method="post" action="(.*?)" id="flagstaff-selected">(.*?)</form>', html, re.DOTALL
    )
    data = dict(re.findall(r'name="(action|index|_back)" value="([^"]*)"', form))
    assert data == {"action": "snooze", "index": "0", "_back": STALE}
    [pk] = re.findall(r'form="flagstaff-selected" name="_selected_action" value="(\d+)"', html)
    assert pk == str(shipped.pk)
    shown = admin_client.post(url, {**data, "_selected_action": pk})
    response = admin_client.post(url, confirmed(shown, until=day(5)), follow=True)
    assert response.redirect_chain == [(STALE, 302)]
    assert messages_of(response) == [f"1 flag is snoozed: {KEY}."]
    assert "No flag is stale." in response.content.decode()


def test_foreign_path_to_return_to_is_ignored(admin_client: Client, shipped: FeatureFlag) -> None:
    data = {"action": "snooze", "_selected_action": shipped.pk, "_back": "//evil.example/"}
    shown = admin_client.post(FLAGS, data)
    response = admin_client.post(FLAGS, confirmed(shown, until=day(5), _back="//evil.example/"))
    assert response.headers["location"] == FLAGS


def test_viewer_cannot_select_flags_to_snooze() -> None:
    html = page(staff("view_featureflag"), STALE)
    assert "_selected_action" not in html
    assert KEY in html
