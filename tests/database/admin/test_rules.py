"""The rules of a flag in the admin: sentences and JSON, form errors, the list, confirmations."""

from __future__ import annotations

import json
import re
from html import unescape
from typing import Any

import pytest
from django.contrib.admin import AdminSite
from django.contrib.auth.models import User
from django.db import connection
from django.test import Client, RequestFactory
from django.utils.html import strip_tags

from flagstaff import acting_as, changes
from flagstaff.admin import FeatureFlagAdmin
from flagstaff.admin.saving import SavingMixin
from flagstaff.exceptions import InvalidChangeError
from flagstaff.history import flag_version
from flagstaff.models import FeatureFlag, Segment
from flagstaff.validators import rule_problem
from tests.support.admin_pages import (
    FLAGS,
    SEGMENTS,
    column,
    errors,
    form_data,
    messages_of,
    page,
    permit,
    post_confirmed,
    staff,
    toggle_url,
    turn_on,
)

pytestmark = pytest.mark.django_db

STAFF = {"attribute": "is_staff", "operator": "in", "values": [True]}
COUNTRY = {"attribute": "country", "operator": "in", "values": ["DE", "AT"]}
RULES = [
    {"name": "team", "conditions": [STAFF]},
    {"conditions": [COUNTRY, {"segment": "enterprise"}], "rollout_percent": 25},
]
# Valid JSON that is no list of rules.
OTHER_JSON = {"x": "<b>"}


@pytest.fixture
def enterprise() -> Segment:
    return Segment.objects.create(key="enterprise", conditions=[COUNTRY])


@pytest.fixture
def flag(enterprise: Segment) -> FeatureFlag:
    return FeatureFlag.objects.create(key="new_checkout", rollout_percent=10, rules=RULES)


def store(rules: object) -> None:
    """Writes any JSON by SQL."""
    with connection.cursor() as cursor:
        cursor.execute("UPDATE flagstaff_featureflag SET rules = %s::jsonb", [json.dumps(rules)])


def url_of(flag: FeatureFlag, view: str = "change") -> str:
    return f"{FLAGS}{flag.pk}/{view}/"


def sentences(html: str) -> list[str]:
    """Returns the items of the list of rules, as text."""
    [rules] = re.findall(r'<ol class="flagstaff-rules">(.*?)</ol>', html, re.DOTALL)
    return [unescape(strip_tags(item)) for item in re.findall(r"<li>(.*?)</li>", rules, re.DOTALL)]


def json_of(client: Client, url: str) -> str:
    """Returns the text in the form."""
    return str(client.get(url).context["adminform"].form["rules"].value())


def form_of(client: Client, flag: FeatureFlag, **fields: Any) -> dict[str, Any]:
    return form_data(client.get(url_of(flag))) | fields


# What the page shows.


def test_page_shows_saved_rules_as_numbered_sentences(operator: Client, flag: FeatureFlag) -> None:
    html = page(operator, url_of(flag))
    assert '<ol class="flagstaff-rules">' in html
    assert sentences(html) == [
        '"team": 100 % if is_staff is true',
        '25 % if country is "DE" or "AT" and in segment "enterprise"',
    ]


def test_json_of_rules_has_one_condition_a_line(operator: Client, flag: FeatureFlag) -> None:
    assert json_of(operator, url_of(flag)).splitlines()[7:13] == [
        "  {",
        '    "conditions": [',
        '      {"attribute": "country", "operator": "in", "values": ["DE", "AT"]},',
        '      {"segment": "enterprise"}',
        "    ],",
        '    "rollout_percent": 25',
    ]


def test_add_page_has_no_rules(operator: Client) -> None:
    assert json_of(operator, f"{FLAGS}add/") == ""
    assert "saved_rules" not in page(operator, f"{FLAGS}add/")


def test_flag_without_rules_has_no_sentences(operator: Client, flag: FeatureFlag) -> None:
    store([])
    assert "saved_rules" not in page(operator, url_of(flag))
    assert json_of(operator, url_of(flag)) == ""


def test_segment_is_a_link_for_users_who_may_view_segments(
    operator: Client, flag: FeatureFlag, enterprise: Segment
) -> None:
    link = f'in segment <a href="{SEGMENTS}{enterprise.pk}/change/">'
    assert link in page(operator, url_of(flag))
    viewer = staff("view_featureflag")
    assert "in segment &quot;enterprise&quot;" in page(viewer, url_of(flag))
    permit(User.objects.get(username="staff"), "view_segment")
    assert link in page(viewer, url_of(flag))


def test_missing_segment_is_marked(operator: Client, flag: FeatureFlag) -> None:
    # The ORM refuses to delete a segment in use.
    with connection.cursor() as cursor:
        cursor.execute("DELETE FROM flagstaff_segment")
    assert 'in segment "enterprise" (does not exist)' in sentences(page(operator, url_of(flag)))[1]


def test_names_and_values_are_escaped(operator: Client, flag: FeatureFlag) -> None:
    odd = {"attribute": "<i>", "operator": "<u>", "values": ["<b>"], "negate": True}
    store([{"name": "<s>", "conditions": [odd, {"segment": "<a>"}], "rollout_percent": "<p>"}])
    html = page(operator, url_of(flag))
    [row] = re.findall('<ol class="flagstaff-rules">.*?</ol>', html, re.DOTALL)
    assert not re.search("<[iubsap]>", row)
    assert sentences(html)[0].startswith('"<s>": <p> % if not (<i> <u> "<b>") and in segment "<a>"')


def test_many_values_are_counted(operator: Client, flag: FeatureFlag) -> None:
    store([{"conditions": [{**COUNTRY, "values": [*range(1_000)]}]}])
    [sentence] = sentences(page(operator, url_of(flag)))
    assert sentence.endswith(" or 18 or 19 or 980 more")


def test_viewer_sees_sentences_and_no_json(flag: FeatureFlag) -> None:
    html = page(staff("view_featureflag"), url_of(flag))
    assert len(sentences(html)) == 2
    assert "is_staff&quot;" not in html
    assert "<textarea" not in html


def test_viewer_of_a_flag_without_rules_sees_that(flag: FeatureFlag) -> None:
    store([])
    html = page(staff("view_featureflag"), url_of(flag))
    assert "no rules" in html


# Rules that workers cannot read.


def test_unreadable_rules_are_named_and_stay_in_the_form(
    operator: Client, flag: FeatureFlag
) -> None:
    store(OTHER_JSON)
    html = unescape(page(operator, url_of(flag)))
    assert f"Workers cannot read these rules: {rule_problem(OTHER_JSON)}." in html
    assert '{"x": "<b>"}</span>' in html
    assert json.loads(json_of(operator, url_of(flag))) == OTHER_JSON


@pytest.mark.parametrize("rules", [OTHER_JSON, "", {}, 0])
def test_flag_with_unreadable_rules_is_disabled_in_its_page(
    rules: object, operator: Client, flag: FeatureFlag
) -> None:
    FeatureFlag.objects.update(enabled=True)
    store(rules)
    data = form_of(operator, flag)
    data.pop("enabled")
    assert operator.post(url_of(flag), data).status_code == 302
    flag.refresh_from_db()
    assert (flag.enabled, flag.rules) == (False, rules)


def test_viewer_sees_why_rules_cannot_be_decoded(flag: FeatureFlag) -> None:
    with connection.cursor() as cursor:
        deep = "[" * 2_000 + "]" * 2_000
        cursor.execute("UPDATE flagstaff_featureflag SET rules = %s::jsonb", [deep])
    html = page(staff("view_featureflag"), url_of(flag))
    assert "unreadable: it is nested deeper than 500 levels" in html


def test_rules_that_became_readable_meanwhile_are_kept(operator: Client, flag: FeatureFlag) -> None:
    with connection.cursor() as cursor:
        deep = "[" * 2_000 + "]" * 2_000
        cursor.execute("UPDATE flagstaff_featureflag SET rules = %s::jsonb", [deep])
    data = form_of(operator, flag)
    assert "rules" not in data
    store(RULES)
    assert operator.post(url_of(flag), data | {"rollout_percent": 5}).status_code == 302
    flag.refresh_from_db()
    assert (flag.rollout_percent, flag.rules) == (5, RULES)


def test_rules_that_are_too_large_are_not_in_the_form_and_are_kept(
    operator: Client, flag: FeatureFlag
) -> None:
    store([{"conditions": [{**COUNTRY, "values": ["x" * 1_000] * 100}]}])
    html = unescape(page(operator, url_of(flag)))
    assert "too large to edit here. Use “manage.py flags set-rules new_checkout FILE”" in html
    assert len(html) < 100_000
    data = form_of(operator, flag, rollout_percent=5)
    store(RULES)
    assert operator.post(url_of(flag), data).status_code == 302
    flag.refresh_from_db()
    assert (flag.rollout_percent, flag.rules) == (5, RULES)


# Form errors.


def test_malformed_json_has_line_and_column_and_is_kept(
    operator: Client, flag: FeatureFlag
) -> None:
    text = '[{"name": "x",\n  "conditions": oops}]'
    response = operator.post(url_of(flag), form_of(operator, flag, rules=text))
    form = response.context["adminform"].form
    assert form.errors["rules"][0].startswith("not valid JSON (line 2, column 17);")
    assert form["rules"].value() == text


def test_rules_that_workers_cannot_read_are_refused_and_kept(
    operator: Client, flag: FeatureFlag
) -> None:
    text = '{"conditions":[ ]}'
    response = operator.post(url_of(flag), form_of(operator, flag, rules=text))
    form = response.context["adminform"].form
    assert form.errors["rules"] == [rule_problem(json.loads(text))]
    assert form["rules"].value() == text
    assert len(sentences(response.content.decode())) == 2  # of the saved rules


def test_rule_with_a_missing_segment_is_a_form_error(operator: Client, flag: FeatureFlag) -> None:
    rules = [{"name": "big", "conditions": [{"segment": "enterprize"}]}]
    data = form_of(operator, flag, rules=json.dumps(rules))
    [error] = errors(operator, url_of(flag), data)["rules"]
    assert error == (
        "rule 1 (\"big\") names the segment 'enterprize', which does not exist; "
        "did you mean 'enterprise'?"
    )


def test_refused_change_keeps_what_was_typed(
    operator: Client, flag: FeatureFlag, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise InvalidChangeError("a worker is too old; update it first")

    monkeypatch.setattr(SavingMixin, "_update", refuse)
    data = form_of(operator, flag, rules="[ ]", description="One page")
    response = operator.post(url_of(flag), data)
    form = response.context["adminform"].form
    assert form.non_field_errors() == ["a worker is too old; update it first"]
    assert (form["rules"].value(), form["description"].value()) == ("[ ]", "One page")


def test_segment_that_is_deleted_while_saving_is_a_form_error(
    operator: Client, flag: FeatureFlag, monkeypatch: pytest.MonkeyPatch
) -> None:
    write = SavingMixin._update

    def delete_first(*args: Any) -> None:
        Segment.objects.filter(key="beta").delete()
        write(*args)

    Segment.objects.create(key="beta", conditions=[COUNTRY])
    monkeypatch.setattr(SavingMixin, "_update", delete_first)
    text = '[{"conditions": [{"segment": "beta"}]}]'
    response = operator.post(url_of(flag), form_of(operator, flag, rules=text))
    form = response.context["adminform"].form
    assert "does not exist" in str(form.errors)
    assert form["rules"].value() == text


def test_conflicting_rules_are_shown_in_sentences(operator: Client, flag: FeatureFlag) -> None:
    data = form_of(operator, flag, rules='[{"conditions": [{"segment": "enterprise"}]}]')
    changes.update("new_checkout", {"rules": [{"name": "team", "conditions": [STAFF]}]})
    [error] = errors(operator, url_of(flag), data)["rules"]
    assert 'Yours: rule 1: 100 % if in segment "enterprise".' in error
    assert 'Now in the database: "team": 100 % if is_staff is true' in error


def test_order_of_names_is_no_edit(operator: Client, flag: FeatureFlag) -> None:
    version = flag_version("new_checkout")
    text = json.dumps(RULES, sort_keys=True)
    assert operator.post(url_of(flag), form_of(operator, flag, rules=text)).status_code == 302
    assert flag_version("new_checkout") == version


def test_new_flag_is_created_with_rules(operator: Client, enterprise: Segment) -> None:
    data = {"key": "a", "rollout_percent": 0, "kind": "release", "rules": json.dumps(RULES)}
    assert operator.post(f"{FLAGS}add/", data).status_code == 302
    assert FeatureFlag.objects.get().rules == RULES


# Messages, confirmations and the list.


def test_restore_shows_rules_in_sentences(operator: Client, flag: FeatureFlag) -> None:
    version = flag_version("new_checkout")
    changes.update("new_checkout", {"rules": []})
    response = operator.post(url_of(flag, "history"), {"_restore": version})
    [row] = response.context["flagstaff_rows"]
    assert (row.field, row.now) == ("rules", "no rules")
    assert row.after.startswith('"team": 100 % if is_staff is true; rule 2: 25 % if')


def test_undo_reports_rules_in_sentences(operator: Client, flag: FeatureFlag) -> None:
    with acting_as("bob"):  # an event of its own
        changes.update("new_checkout", {"rules": [{"name": "team", "conditions": [STAFF]}]})
    version = flag_version("new_checkout")
    url = url_of(flag, "history")
    [message] = messages_of(post_confirmed(operator, url, {"_undo": version}, follow=True))
    assert 'rules "team": 100 % if is_staff is true → "team": 100 %' in message


def test_confirmation_of_turning_on_shows_rules(operator: Client, flag: FeatureFlag) -> None:
    flag.allowed_users.add(User.objects.create(username="ana"))
    response = operator.get(toggle_url(flag, "turn-on"))
    rows = {row.field: row for row in response.context["flagstaff_rows"]}
    assert rows["state"].after == "by rules"
    assert rows["rules"].after.startswith('"team": 100 % if is_staff is true')
    assert rows["who has the flag"].after == (
        "On for 1 allowed user. For all others, the rules decide first. On for 10 % of the users "
        "that no rule matches."
    )
    # A count would not know the attributes of users.
    assert "users" not in rows


def test_message_after_turning_on_names_rules(operator: Client, flag: FeatureFlag) -> None:
    [message] = messages_of(turn_on(operator, flag))
    assert "is now on. The rules decide first. On for 10 % of all other users." in message


@pytest.mark.parametrize(
    ("rules", "text"),
    [
        ([], ""),
        (RULES[:1], "1 rule"),
        (RULES, "2 rules"),
        ({}, "unreadable rules"),
        ([1], "unreadable rules"),
    ],
)
def test_list_shows_the_number_of_rules(
    rules: object, text: str, operator: Client, flag: FeatureFlag
) -> None:
    store(rules)
    assert column(page(operator), "rollout") == [f"10 % {text}".strip()]


@pytest.mark.parametrize(("enabled", "state"), [(True, "by rules"), (False, "off")])
def test_state_of_an_enabled_flag_with_rules_is_by_rules(
    enabled: bool, state: str, operator: Client, flag: FeatureFlag
) -> None:
    FeatureFlag.objects.update(enabled=enabled)
    assert column(page(operator), "state") == [state]


@pytest.mark.parametrize(
    ("choice", "keys"),
    [("yes", ["new_checkout"]), ("no", ["plain"]), ("x", ["new_checkout", "plain"])],
)
def test_list_filters_by_rules(
    choice: str, keys: list[str], operator: Client, flag: FeatureFlag
) -> None:
    FeatureFlag.objects.create(key="plain")
    assert column(page(operator, f"{FLAGS}?has_rules={choice}"), "flag") == keys


# Subclasses.


def fields_shown(model_admin: FeatureFlagAdmin, flag: FeatureFlag) -> list[Any]:
    """Returns the fields of a flag's page for a superuser."""
    request = RequestFactory().get("/")
    request.user = User(is_superuser=True, is_active=True)
    form = model_admin.get_form(request, flag, change=True)
    fieldsets = model_admin.get_fieldsets(request, flag)
    assert form.base_fields
    return [name for _title, options in fieldsets for name in options["fields"]]


def test_subclass_with_fieldsets_shows_sentences_before_the_json(flag: FeatureFlag) -> None:
    class Own(FeatureFlagAdmin):
        fieldsets = ((None, {"fields": ("key", ("enabled", "rules"))}),)

    model_admin = Own(FeatureFlag, AdminSite())
    assert model_admin.check() == []
    assert fields_shown(model_admin, flag)[:2] == ["key", ("enabled", "saved_rules", "rules")]


def test_subclass_with_fields_shows_these_fields(flag: FeatureFlag) -> None:
    class Own(FeatureFlagAdmin):
        fields = ("key", "rules")

    model_admin = Own(FeatureFlag, AdminSite())
    assert model_admin.check() == []
    assert fields_shown(model_admin, flag)[:3] == ["key", "saved_rules", "rules"]


def test_subclass_may_place_the_sentences(flag: FeatureFlag) -> None:
    class Own(FeatureFlagAdmin):
        fieldsets = ((None, {"fields": ("saved_rules", "key", "rules")}),)

    shown = fields_shown(Own(FeatureFlag, AdminSite()), flag)
    assert shown[:3] == ["saved_rules", "key", "rules"]


def test_subclass_with_readonly_rules_shows_sentences(flag: FeatureFlag) -> None:
    class Own(FeatureFlagAdmin):
        readonly_fields = ("rules",)
        fieldsets = ((None, {"fields": ("key", "rules")}),)

    assert fields_shown(Own(FeatureFlag, AdminSite()), flag)[:2] == ["key", "saved_rules"]


def test_subclass_without_rules_shows_none(flag: FeatureFlag) -> None:
    class Own(FeatureFlagAdmin):
        fieldsets = ((None, {"fields": ("key", "enabled")}),)

    assert fields_shown(Own(FeatureFlag, AdminSite()), flag)[:2] == ["key", "enabled"]
