"""The page of an undo: of one change, of chosen ones, of a transaction, or of a restore."""

import re
from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
from django.contrib import admin
from django.contrib.auth.models import User
from django.db import transaction
from django.test import Client

from flagstaff import acting_as, changes
from flagstaff.admin import waiting_parts
from flagstaff.history import flag_version, value_version
from flagstaff.models import Change, FeatureFlag, KeyValueStore, Segment
from tests.support.admin_pages import (
    FLAGS,
    RECENT,
    act,
    asks,
    confirmed,
    content_of,
    count_queries,
    errors_of,
    flag_url,
    kill,
    messages_of,
    notes_of,
    page,
    preview_of,
    problems_of,
    production,
    restore_url,
    row_url,
    state,
    text_to_type,
    turn_on,
    undo,
    undo_all_url,
    undo_at,
    undo_url,
)
from tests.support.history import all_events, flag_history
from tests.support.history_fixtures import disabled_triggers
from tests.support.screen import Screen
from tests.support.shop import GERMAN, Shop
from tests.support.sql import rows as execute
from tests.support.sql import statements_of
from tests.support.terminals import run
from tests.support.waiting import run_jobs

# Each change is a transaction of its own, as in production.
pytestmark = pytest.mark.django_db(transaction=True)

KEY = "new_checkout"
STAFF = [{"attribute": "is_staff", "operator": "in", "values": [True]}]
EVERYBODY = [{"attribute": "is_authenticated", "operator": "in", "values": [True]}]
AGAIN = "new_checkout: rollout was changed again and is 70 % now"


@pytest.fixture(autouse=True)
def rows(operator: Client, flag: FeatureFlag, gateway: KeyValueStore) -> None:
    """A flag and a value, and a hundred users."""
    User.objects.bulk_create([User(username=f"user{number}") for number in range(99)])


def stored() -> tuple[int, object]:
    return FeatureFlag.objects.get(key=KEY).rollout_percent, KeyValueStore.objects.get().value


def test_undo_is_logged_by_the_admin_of_the_kind(
    operator: Client, gateway: KeyValueStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    logged: list[tuple[object, str]] = []
    # As a project's own admin of values may do.
    monkeypatch.setattr(
        admin.site.get_model_admin(KeyValueStore),
        "log_change",
        lambda _request, row, message: logged.append((row, message)),
    )
    changes.values.set("gateway", "adyen")
    undo(operator, value_version("gateway"))
    [(row, message)] = logged
    assert row == gateway
    assert message.startswith("The change of “gateway” was undone: ")


def test_undo_of_several_changes_says_how_many_were_undone(
    operator: Client, flag: FeatureFlag
) -> None:
    first, second = (changes.flags.set_rollout(KEY, percent).version for percent in (30, 40))
    response = undo(operator, first, second)
    [message] = messages_of(response)
    assert message.startswith("2 changes of “new_checkout” were undone: rollout 40 → 25 %.")


def test_undo_says_that_what_its_change_has_ended_will_not_run(
    operator: Client, flag: FeatureFlag, shop: Shop
) -> None:
    shop.waiting(f"rollout {KEY} 50", "admin")
    killed = changes.flags.disable(KEY).version
    response = operator.get(undo_url(killed))
    [note] = [note for note in notes_of(response) if "will not run" in note]
    begin = "This will not run after the undo either: new_checkout: Roll out to 50 %: "
    assert note.startswith(begin)
    warnings = messages_of(operator.post(undo_url(killed), confirmed(response), follow=True))
    assert any("Roll out to 50 %: will not run: " in warning for warning in warnings)


def test_undo_says_that_what_has_ended_since_is_not_brought_back(
    operator: Client, flag: FeatureFlag, shop: Shop
) -> None:
    before, failed, cancelled = (
        shop.waiting(f"rollout {KEY} {percent}", "admin") for percent in (30, 50, 60)
    )
    run(f"waiting cancel {before.pk} --as admin")
    killed = changes.flags.disable(KEY).version
    run(f"waiting cancel {cancelled.pk} --as admin")
    assert [report["id"] for report in run_jobs()] == [failed.pk]
    notes = [note for note in notes_of(operator.get(undo_url(killed))) if "will not run" in note]
    begin = "This will not run after the undo either: new_checkout: Roll out to "
    assert [note.startswith(begin) for note in notes] == [True, True]
    assert "50 %: failed: " in notes[0]
    assert "; was to run at " in notes[0]
    assert "60 %: cancelled; asked by " in notes[1]


def test_undo_names_the_newest_that_have_ended_and_none_that_was_asked_for_again(
    operator: Client, flag: FeatureFlag, shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(waiting_parts, "_MAX_LINES", 2)
    killed = changes.flags.disable(KEY).version
    for percent in (30, 40, 50, 60, 60):
        waiting = shop.waiting(f"rollout {KEY} {percent}", "admin")
        run(f"waiting cancel {waiting.pk} --as admin")
    notes = [note for note in notes_of(operator.get(undo_url(killed))) if "will not run" in note]
    assert [re.findall(r"\d+ %", note) for note in notes[:2]] == [["60 %"], ["50 %"]]
    assert notes[2:] == ["After the undo, 2 more actions will not run either."]


def test_undo_counts_the_users_and_returns_to_the_filtered_list(
    operator: Client, flag: FeatureFlag
) -> None:
    changes.flags.set_rollout(KEY, 0)
    html = page(operator, f"{RECENT}?kind=flag&actor=")
    url = Screen(html).attributes('a[href*="?undo="]', "href")[0]
    response = operator.get(url)
    assert "Recent changes" in dict(Screen(response).links)
    lines = preview_of(response)
    assert lines["rollout"] == ["0 %", "25 %"]
    assert lines["who has the flag"][1] == "On for 25 % of all users."
    before, after = lines["users with the flag"]
    assert before == "0 of 100"
    assert re.fullmatch(r"\d+ of 100", after)
    [note] = notes_of(response)
    assert re.fullmatch(
        r"0 → 25 %: \d+ users gain the flag\. Afterwards \d+ of 100 users have it\.", note
    )
    response = undo_at(operator, url)
    assert note in messages_of(response)[0]
    assert response.redirect_chain[-1][0] == f"{RECENT}?kind=flag&actor="
    assert state(flag) == (True, 25)


@pytest.mark.usefixtures("reason_required")
def test_undo_that_turns_a_flag_off_needs_no_reason(operator: Client, flag: FeatureFlag) -> None:
    changes.flags.disable(KEY)
    undo(operator, changes.flags.enable(KEY).version)
    assert state(flag) == (False, 25)


def test_long_texts_are_truncated_in_the_message_and_the_reason(operator: Client) -> None:
    change = changes.flags.update(KEY, {"description": "x" * 10_000}).version
    [message] = messages_of(undo(operator, change, _reason="\0why" + "x" * 1000))
    assert '… (9,882 more characters) → "".' in message
    assert len(message) < 400
    assert flag_history(KEY)[0].reason == "why" + "x" * 497


def test_actions_without_triggers_are_written_and_an_undo_is_not(
    operator: Client, flag: FeatureFlag
) -> None:
    change = changes.flags.set_rollout(KEY, 30).version
    with disabled_triggers():
        [text] = errors_of(undo(operator, change))
        assert state(flag) == (True, 30)
        act(operator, flag_url(flag, "rollout"), percent="50")
        kill(operator, flag)
        assert state(flag) == (False, 50)
        turn_on(operator, flag)
    assert state(flag) == (True, 50)
    assert text.startswith('the history does not record "flagstaff_featureflag"')


def test_get_locks_and_writes_nothing_and_makes_few_queries(operator: Client) -> None:
    with transaction.atomic():
        changes.values.set("gateway", "adyen")
        changes.flags.delete(KEY)
        version = changes.segments.create("staff", STAFF).version
    for url in (undo_all_url(version), restore_url(value_version("gateway"))):
        statements = "".join(statements_of(partial(page, operator, url)))
        assert not re.search(r"INSERT|UPDATE|DELETE|LOCK|SAVEPOINT", statements)
    # Beside those of the session and the user: 14.
    changes.flags.create("other")
    url = undo_url(changes.flags.set_rollout("other", 50).version)
    assert count_queries(operator, url) <= 16


def changed_again() -> str:
    version = changes.flags.set_rollout(KEY, 80).version
    changes.flags.set_rollout(KEY, 70)
    return undo_url(version)


def transaction_changed_again() -> str:
    with transaction.atomic():
        changes.values.set("gateway", "adyen")
        version = changes.flags.set_rollout(KEY, 80).version
    changes.flags.set_rollout(KEY, 70)
    return undo_all_url(version)


IMPOSSIBLE: dict[str, tuple[Callable[[], str], str]] = {
    "changed again": (changed_again, f"Cannot be undone: {AGAIN}"),
    "transaction": (transaction_changed_again, f"Cannot be undone: {AGAIN}"),
    "newest": (
        lambda: restore_url(changes.flags.set_rollout(KEY, 80).version),
        "There is nothing to undo.",
    ),
}


@pytest.mark.parametrize("name", IMPOSSIBLE)
@pytest.mark.one_in(3)
def test_undo_that_is_not_possible_says_why_and_has_no_button(name: str, operator: Client) -> None:
    change, text = IMPOSSIBLE[name]
    url = change()
    entries = Change.objects.count()
    for response in (operator.get(url), operator.post(url, {"_confirmed": "1"})):
        assert text in content_of(response.content.decode())
        assert not asks(response)
    assert Change.objects.count() == entries


def test_change_that_was_changed_again_leads_to_the_states_that_can_be_restored(
    operator: Client,
) -> None:
    url = Screen(page(operator, changed_again())).link("Restore an earlier state")
    assert "Restore this state…" in page(operator, url)


def test_conflict_of_one_row_refuses_all_and_can_be_left_out(operator: Client) -> None:
    shown = Screen(page(operator, transaction_changed_again()))
    assert "Nothing can be undone, because some of these changes cannot be." in shown.text
    undo_at(operator, shown.link("Leave out what cannot be undone"))
    assert stored() == (70, "stripe")


def test_page_offers_to_leave_out_a_column_whose_old_value_no_longer_fits(operator: Client) -> None:
    changes.flags.create("banner", rollout_percent=5)
    version = changes.flags.delete("banner").version
    # It was a text then.
    execute('UPDATE flagstaff_change SET old = old || \'{"review_on": "soon"}\'')
    shown = Screen(page(operator, undo_url(version)))
    assert "banner: review_on: " in shown.text
    url = f"{RECENT}{shown.link('Leave out review_on')}"
    assert "Left out: review_on." in content_of(page(operator, url))
    undo_at(operator, url)
    assert FeatureFlag.objects.get(key="banner").rollout_percent == 5


def test_unknown_change_is_a_message_and_no_version_is_not_found(operator: Client) -> None:
    for name in ("undo", "restore"):
        for version in ("987654321", "9" * 18):
            response = operator.get(RECENT, {name: version}, follow=True)
            text = f"Not undone: the history has no version {version}"
            assert text in str(messages_of(response))
        for version in ("x", "-1", "9" * 5000, "\0", "all"):
            assert operator.get(RECENT, {name: version}).status_code == 404
    # Nothing is selected: the filters are kept.
    response = operator.get(RECENT, {"back": f"{RECENT}?kind=flag"}, follow=True)
    assert response.redirect_chain == [(f"{RECENT}?kind=flag", 302)]
    assert "First select the changes that you want to undo." in str(messages_of(response))


def test_undo_says_how_many_rows_of_each_kind_it_deletes(operator: Client) -> None:
    versions = [changes.flags.create(key).version for key in ("banner", "menu")]
    versions.append(changes.values.create("limit", 1).version)
    notes = notes_of(operator.get(undo_url(*versions)))
    assert "This deletes 2 flags: “menu”, “banner”." in notes
    assert "This deletes the value “limit”." in notes


def test_undo_of_a_creation_asks_to_delete(operator: Client, settings: Any) -> None:
    url = undo_url(changes.flags.create("banner").version)
    assert text_to_type(operator.get(url)) == ""
    production(settings)
    response = operator.get(url)
    assert notes_of(response) == ["This deletes the flag “banner”."]
    assert text_to_type(response) == "banner"
    response = operator.post(url, confirmed(response, _typed_key="banner"), follow=True)
    assert messages_of(response) == ["“banner” was deleted."]
    assert response.redirect_chain == [(FLAGS, 302)]
    assert FeatureFlag.objects.get().key == KEY


@pytest.mark.usefixtures("unused")
def test_deleted_flag_is_brought_back_with_its_users(
    operator: Client, flag: FeatureFlag, alice: User
) -> None:
    changes.flags.allow(KEY, alice)
    url = undo_url(changes.flags.delete(KEY).version)
    assert "Bring back…" in page(operator, RECENT)
    who = "On for 25 % of all users and 1 allowed user."
    lines = preview_of(operator.get(url))
    assert lines["new_checkout"] == ["", "created again, as it was before"]
    assert "rules" not in lines
    assert lines["who has the flag"] == ["", who]
    response = undo_at(operator, url)
    [message] = messages_of(response)
    assert f"“new_checkout” was created again, as it was before. {who}" in message
    assert response.redirect_chain == [(flag_url(flag), 302)]
    assert flag.allowed_users.get() == alice


def test_undo_of_a_creation_or_deletion_shows_the_value_and_the_rules(operator: Client) -> None:
    created = changes.values.create("limit", 5, rules=[{"conditions": STAFF, "value": 7}]).version
    shown = preview_of(operator.get(undo_url(created)))
    assert shown["limit"] == ["5", "deleted"]
    assert shown["removed rule"] == ["rule 1: 7 if is_staff is true", "no rule"]
    deleted = changes.values.delete("limit").version
    assert preview_of(operator.get(undo_url(deleted)))["limit"] == ["deleted", "5"]
    changes.flags.create("banner", rules=[{"conditions": STAFF, "rollout_percent": 100}])
    deleted = changes.flags.delete("banner").version
    rule = preview_of(operator.get(undo_url(deleted)))["added rule"]
    assert rule == ["no rule", "rule 1: 100 % if is_staff is true"]


def test_all_changes_of_a_person_on_the_page_are_undone_together(operator: Client) -> None:
    with acting_as("ana"):
        changes.flags.set_rollout(KEY, 50)
        changes.values.set("gateway", "adyen")
    changes_of_ana = Screen(page(operator, f"{RECENT}?actor=ana"))
    response = undo_at(operator, changes_of_ana.link("Undo all 2 changes on this page…"))
    assert response.redirect_chain == [(f"{RECENT}?actor=ana", 302)]
    assert "2 changes of “gateway”, “new_checkout” were undone." in str(messages_of(response))
    assert stored() == (25, "stripe")
    assert "changes on this page" not in page(operator, RECENT)


def test_change_that_was_undone_leaves_nothing_to_undo_together(
    operator: Client, flag: FeatureFlag
) -> None:
    recent = f"{RECENT}?actor=admin"
    act(operator, flag_url(flag, "rollout"), percent=50)
    undo_at(operator, Screen(page(operator, recent)).link("Undo…"))
    html = page(operator, recent)
    assert "undone" in html
    assert "changes on this page" not in html


def test_transaction_is_shown_row_by_row_and_undone_as_a_whole(
    operator: Client, alice: User
) -> None:
    changes.flags.create("beta", enabled=True, allowed_users=[alice])
    with transaction.atomic():
        version = changes.flags.set_rollout(KEY, 100).version
        changes.flags.create("brand_new", enabled=True)
        changes.flags.delete("beta")
        changes.values.set("gateway", "adyen")
    shown = Screen(page(operator, f"{RECENT}?transaction={version}"))
    response = operator.get(f"{RECENT}{shown.link('Undo the whole transaction…')}")
    assert "All of these changes are undone, or none." in notes_of(response)
    table = Screen(response).all("#content table")[0]
    lines = {key: [now, after] for key, now, after in table.rows}
    assert [*lines] == ["gateway (value)", "beta", "brand_new", KEY]
    assert lines["gateway (value)"] == ['value: "adyen"', 'value: "stripe"']
    again = "created again, as it was before; users with the flag: 1 of 101"
    assert lines["beta"] == ["users with the flag: 0 of 101", again]
    assert lines["brand_new"][1] == "deleted"
    before, after = lines[KEY]
    assert before == "rollout: 100 %; users with the flag: 101 of 101"
    assert after.startswith("rollout: 25 %; users with the flag: ")
    response = undo_at(operator, undo_all_url(version), _reason="too soon")
    [message] = messages_of(response)
    keys = "“gateway”, “beta”, “brand_new”, “new_checkout”"
    assert message.startswith(f"4 changes of {keys} were undone. ")
    assert stored() == (25, "stripe")
    assert [event.reason for event in all_events()[:4]] == ["too soon"] * 4


def test_undo_of_a_transaction_counts_what_is_not_undone_and_names_the_flag(
    operator: Client, flag: FeatureFlag
) -> None:
    banner = FeatureFlag.objects.create(key="banner", enabled=True, rollout_percent=5)
    with transaction.atomic():
        changes.flags.set_rollout(KEY, 30)
        version = changes.flags.set_rollout("banner", 90).version
    undo(operator, flag_version(KEY))
    response = operator.get(undo_all_url(version))
    shown = Screen(response)
    assert shown.heading == "Undo 1 change"
    assert "Undo 1 change" in shown.buttons
    states = {row[0]: row[1] for row in shown.rows}
    assert states[KEY] == "rollout 25 %; nothing: it already has its earlier state"
    assert [note for note in notes_of(response) if note.startswith("banner: 90 → 5 %: ")]
    [message] = messages_of(undo_at(operator, undo_all_url(version)))
    assert message.startswith("The change of “banner” was undone: rollout 90 → 5 %.")
    assert state(banner) == (True, 5)


def test_changes_of_a_person_that_were_undone_do_not_count_together(operator: Client) -> None:
    with acting_as("ana"):
        first = changes.flags.set_rollout(KEY, 50).version
        changes.values.set("gateway", "adyen")
    with acting_as("ana", reason="a mistake"):
        changes.flags.undo(KEY, first)
        changes.values.create("limit", 1)
    shown = Screen(page(operator, f"{RECENT}?actor=ana"))
    url = shown.link("Undo all 2 changes on this page…")
    assert Screen(page(operator, url)).heading == "Undo 2 changes"


def test_link_and_boxes_of_a_page_and_the_title_of_its_undo_count_the_same(
    operator: Client,
) -> None:
    def undo_newest() -> None:
        changes.flags.undo(KEY, Change.objects.latest("id").pk)

    for change in (
        partial(changes.flags.set_rollout, KEY, 50),
        partial(changes.flags.disable, KEY),
        undo_newest,
        partial(changes.flags.delete, KEY),
        undo_newest,
        partial(changes.values.set, "gateway", "adyen"),
    ):
        # A transaction of its own.
        with acting_as("ana"):
            change()
    shown = Screen(page(operator, f"{RECENT}?actor=ana"))
    assert len(shown.all("[name=undo]")) == 2
    why_not = " · cannot be selected: it is the undo of a change on this page"
    # Both undos: of a deletion, and of the change before it.
    said = [why_not in event.text for event in shown.all(".flagstaff-event")]
    assert said == [False, True, False, True, False, False]
    url = shown.link("Undo all 2 changes on this page…")
    # Through the deletion and its undo.
    assert Screen(page(operator, url)).heading == "Undo 2 changes"
    undo_at(operator, url)
    assert stored() == (25, "stripe")


@pytest.mark.thorough
def test_undo_of_many_rows_is_confirmed_and_has_a_link_that_undoes_it(
    operator: Client, settings: Any
) -> None:
    settings.DATA_UPLOAD_MAX_NUMBER_FIELDS = 20
    flags = FeatureFlag.objects.filter(key__startswith="flag_")
    with transaction.atomic():
        FeatureFlag.objects.bulk_create(FeatureFlag(key=f"flag_{n}") for n in range(201))
    response = undo_at(operator, undo_all_url(flag_version("flag_0")))
    assert not flags.exists()
    [url] = Screen(response).attributes(".flagstaff-undo", "href")
    undo_at(operator, url)
    assert flags.count() == 201


def test_restore_undoes_what_came_after_a_version(
    operator: Client, flag: FeatureFlag, alice: User
) -> None:
    url = restore_url(flag_version(KEY))
    changes.flags.allow(KEY, alice)
    changes.flags.update(KEY, {"rollout_percent": 50, "description": "<b>One</b> page"})
    assert f'href="{url}&amp;' in page(operator, flag_url(flag, "history"))
    response = operator.get(url)
    assert not Screen(response).all("#content b")
    lines = preview_of(response)
    assert lines["description"] == ['"<b>One</b> page"', '""']
    assert lines["allowed users"] == ["1 user", "0 users: removed 1 allowed user (alice)"]
    back = 'rollout 50 → 25 %, description "<b>One</b> page" → "", removed 1 allowed user (alice)'
    [message] = messages_of(operator.post(url, confirmed(response), follow=True))
    assert message.startswith(f"“new_checkout” was restored: {back}.")
    assert (state(flag), flag.allowed_users.count()) == ((True, 25), 0)


def test_versions_are_restored_only_where_the_values_are_stored(operator: Client) -> None:
    row = KeyValueStore.objects.create(key="token", value="hunter2", secret=True)
    changes.values.update("token", {"description": "For the shop"})
    changes.values.set("token", "hunter3")
    changes.values.update("token", {"description": "For the new shop"})
    undo_at(operator, Screen(page(operator, row_url(row, "history"))).link("Restore this state…"))
    row.refresh_from_db()
    assert (row.value, row.description) == ("hunter3", "For the shop")


# Changes after the page was shown.


def test_change_after_the_page_asks_again_and_keeps_the_reason(
    operator: Client, flag: FeatureFlag
) -> None:
    url = undo_url(changes.flags.set_rollout(KEY, 5).version)
    data = confirmed(operator.get(url), _reason="too low")
    with acting_as("ana"):
        changes.flags.update(KEY, {"description": "One"})
    response = operator.post(url, data)
    assert problems_of(response) == [
        "“new_checkout” has changed since the page was shown. Press the button again.",
        'ana: description "One"',
    ]
    assert state(flag) == (True, 5)
    operator.post(url, confirmed(response))
    assert state(flag) == (True, 25)
    assert flag_history(KEY)[0].reason == "too low"


def test_undo_of_something_else_than_was_shown_asks_again(
    operator: Client, flag: FeatureFlag
) -> None:
    changes.flags.create("banner")
    deletion = changes.flags.delete("banner").version
    url = undo_url(deletion, changes.flags.set_rollout(KEY, 80).version)
    data = confirmed(operator.get(url))
    # Its key is not free any more.
    changes.flags.create("banner")
    response = operator.post(url, data)
    assert "banner: a flag has this key now" in content_of(response.content.decode())
    assert state(flag) == (True, 80)


def test_segment_that_came_into_use_after_the_page_asks_again(operator: Client) -> None:
    changes.segments.create("team", STAFF)
    url = undo_url(changes.segments.update("team", {"conditions": EVERYBODY}).version)
    data = confirmed(operator.get(url))
    changes.flags.update(KEY, {"rules": [{"conditions": [{"segment": "team"}]}]})
    response = operator.post(url, data)
    assert problems_of(response)[0].startswith("This has changed since the page was shown.")
    assert Segment.objects.get().conditions == EVERYBODY
    assert "new_checkout" in content_of(response.content.decode())
    operator.post(url, confirmed(response))
    assert Segment.objects.get().conditions == STAFF


def rules_of_a_value() -> str:
    rules = [{"conditions": EVERYBODY, "value": "paypal"}]
    changes.values.update("gateway", {"rules": rules})
    return undo_url(changes.values.update("gateway", {"rules": []}).version)


def two_rows() -> str:
    first = changes.values.set("gateway", "adyen").version
    return undo_url(first, changes.flags.set_rollout(KEY, 20).version)


@pytest.mark.parametrize(
    ("change", "key"),
    [
        (lambda: undo_url(changes.flags.delete(KEY).version), KEY),
        (rules_of_a_value, "gateway"),
        (two_rows, "Production"),
    ],
    ids=["deletion", "rules of a value", "two rows"],
)
@pytest.mark.one_in(3)
def test_undo_for_most_users_in_production_types_the_key(
    change: Callable[[], str], key: str, operator: Client, settings: Any
) -> None:
    production(settings)
    FeatureFlag.objects.update(rollout_percent=100)
    url = change()
    entries = Change.objects.count()
    response = operator.get(url)
    assert text_to_type(response) == key
    response = operator.post(url, confirmed(response, _typed_key="x"))
    assert problems_of(response) == [f"Not confirmed: type “{key}” exactly."]
    assert Change.objects.count() == entries
    operator.post(url, confirmed(response, _typed_key=key))
    assert stored() == (100, "stripe")


RIGHTS: dict[str, tuple[Callable[[], Any], str]] = {
    "rollout": (lambda: changes.flags.set_rollout(KEY, 50), "toggle_featureflag"),
    "description": (
        lambda: changes.flags.update(KEY, {"description": "One"}),
        "change_featureflag",
    ),
    "deletion": (lambda: changes.flags.delete(KEY), "add_featureflag"),
    "creation": (lambda: changes.flags.create("banner"), "delete_featureflag"),
    "value": (lambda: changes.values.set("gateway", "adyen"), "change_keyvaluestore"),
    "segment": (lambda: changes.segments.update("german", {"conditions": STAFF}), "change_segment"),
}


@pytest.mark.parametrize("name", RIGHTS)
@pytest.mark.one_in(3)
def test_undo_needs_the_permissions_for_all_that_it_changes(name: str, shop: Shop) -> None:
    write, right = RIGHTS[name]
    changes.flags.update(KEY, {"enabled": False})
    changes.segments.create("german", [GERMAN])
    with transaction.atomic():
        other = changes.segments.create("team", STAFF).version
        version = write().version
    # Who may change a flag may toggle it.
    others = {right for _write, right in RIGHTS.values()} - {right, "change_featureflag"}
    views = ("view_featureflag", "view_keyvaluestore", "view_segment")
    client = shop.client("olga", *views, "delete_segment", *others)
    before = Change.objects.count()
    assert f'href="{undo_url(version)}' not in page(client, RECENT)
    for url in (undo_url(version), undo_all_url(other)):
        for response in (client.get(url), client.post(url, {"_confirmed": "1"})):
            assert response.status_code == 403
    assert Change.objects.count() == before
    shop.client("olga", right)
    assert f'href="{undo_url(version)}' in page(client, RECENT)
    undo_at(client, undo_all_url(other))
    assert not Segment.objects.filter(key="team").exists()
    assert Change.objects.count() > before + 1


def test_undo_of_any_entry_of_a_creation_needs_the_permission_to_delete(
    alice: User, shop: Shop
) -> None:
    changes.flags.create("banner", allowed_users=[alice])
    banner = FeatureFlag.objects.get(key="banner")
    client = shop.client("olga", "change_featureflag")
    assert "?undo=" not in page(client, flag_url(banner, "history"))
    for entry in Change.objects.filter(object_pk=banner.pk):
        assert client.post(undo_url(entry.pk), {"_confirmed": "1"}).status_code == 403
    assert banner.allowed_users.get() == alice


def test_users_without_the_permission_to_view_users_see_only_numbers(
    operator: Client, shop: Shop
) -> None:
    version, client = flag_version(KEY), shop.client("olga", "change_featureflag")
    # Long, because the pages have tokens of random letters.
    robert = User.objects.create(username="robert.smith")
    change = changes.flags.allow(KEY, robert).version
    for address in (RECENT, restore_url(version), undo_url(change)):
        html = page(client, address)
        assert "1 allowed user" in html
        assert "robert.smith" not in html
        assert "robert.smith" in page(operator, address)
    assert '"{""count"": 1, ""pks"": []}"' in page(client, f"{RECENT}?format=csv")
    assert f'""pks"": [{robert.pk}]' in page(operator, f"{RECENT}?format=csv")
    [message] = messages_of(undo(client, change))
    assert message.startswith("The change of “new_checkout” was undone: removed 1 allowed user.")
