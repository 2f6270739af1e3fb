"""The rules of a flag in the admin: sentences and JSON, form errors, the list, confirmations."""

from __future__ import annotations

import json
import re
from html import unescape
from typing import Any

import pytest
from django.contrib.admin import AdminSite
from django.contrib.auth.models import User
from django.test import Client, RequestFactory
from django.utils.html import strip_tags

from flagstaff import changes
from flagstaff.admin import FeatureFlagAdmin
from flagstaff.admin.row_admin import RowAdmin
from flagstaff.exceptions import InvalidChangeError
from flagstaff.history import flag_version
from flagstaff.models import FeatureFlag, Segment
from flagstaff.validators import rule_problem
from tests.support.admin_pages import (
    FLAGS,
    SEGMENTS,
    column,
    errors,
    flag_url,
    form_data,
    messages_of,
    page,
    permit,
    preview_of,
    toggle_url,
    turn_on,
)
from tests.support.sql import rows as execute

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
def flag(enterprise: Segment) -> FeatureFlag:
    return FeatureFlag.objects.create(key="new_checkout", rollout_percent=10, rules=RULES)


def store(rules: object) -> None:
    """Writes any JSON by SQL."""
    execute("UPDATE flagstaff_featureflag SET rules = %s::jsonb", json.dumps(rules))


def sentences(html: str) -> list[str]:
    """Returns the items of the list of rules, as text."""
    [rules] = re.findall(r'<ol class="flagstaff-rules">(.*?)</ol>', html, re.DOTALL)
    return [unescape(strip_tags(item)) for item in re.findall(r"<li>(.*?)</li>", rules, re.DOTALL)]


def json_of(client: Client, url: str) -> str:
    """Returns the text in the form."""
    return str(client.get(url).context["adminform"].form["rules"].value())


def form_of(client: Client, flag: FeatureFlag, **fields: Any) -> dict[str, Any]:
    return form_data(client.get(flag_url(flag))) | fields


# What the page shows.


def test_page_shows_saved_rules_as_sentences_and_as_json(
    operator: Client, viewer: Client, flag: FeatureFlag
) -> None:
    assert sentences(page(viewer, flag_url(flag))) == [
        '"team": 100 % if is_staff is true',
        '25 % if country is "DE" or "AT" and in segment "enterprise"',
    ]
    # The editor says the same.
    assert 'class="flagstaff-rules"' not in page(operator, flag_url(flag))
    assert json_of(operator, flag_url(flag)).splitlines()[7:13] == [
        "  {",
        '    "conditions": [',
        '      {"attribute": "country", "operator": "in", "values": ["DE", "AT"]},',
        '      {"segment": "enterprise"}',
        "    ],",
        '    "rollout_percent": 25',
    ]
    assert not re.search("is_staff&quot;|<textarea|_rule_edit", page(viewer, flag_url(flag)))


def test_flag_without_rules_has_no_sentences(
    operator: Client, viewer: Client, flag: FeatureFlag
) -> None:
    store([])
    for url in (f"{FLAGS}add/", flag_url(flag)):
        assert json_of(operator, url) == ""
        assert "saved_rules" not in page(operator, url)
    assert "no rules" in page(viewer, flag_url(flag))


def test_segment_is_a_link_for_users_who_may_view_segments_or_marked_as_missing(
    operator: Client, viewer: Client, flag: FeatureFlag, enterprise: Segment
) -> None:
    link = f'in segment <a href="{SEGMENTS}{enterprise.pk}/change/">'
    assert "in segment &quot;enterprise&quot;" in page(viewer, flag_url(flag))
    permit(User.objects.get(username="staff"), "view_segment")
    assert link in page(viewer, flag_url(flag))
    # The ORM refuses to delete a segment in use.
    execute("DELETE FROM flagstaff_segment")
    missing = 'in segment "enterprise" (does not exist)'
    assert missing in sentences(page(viewer, flag_url(flag)))[1]


def test_names_and_values_are_escaped_and_many_values_counted(
    viewer: Client, flag: FeatureFlag
) -> None:
    odd = {"attribute": "<i>", "operator": "<u>", "values": ["<b>"], "negate": True}
    store([{"name": "<s>", "conditions": [odd, {"segment": "<a>"}], "rollout_percent": "<p>"}])
    html = page(viewer, flag_url(flag))
    [row] = re.findall('<ol class="flagstaff-rules">.*?</ol>', html, re.DOTALL)
    assert not re.search("<[iubsap]>", row)
    assert sentences(html)[0].startswith('"<s>": <p> % if not (<i> <u> "<b>") and in segment "<a>"')
    store([{"conditions": [{**COUNTRY, "values": [*range(1_000)]}]}])
    [sentence] = sentences(page(viewer, flag_url(flag)))
    assert sentence.endswith(" or 18 or 19 or 980 more")


# Rules that workers cannot read.


@pytest.mark.parametrize("rules", [OTHER_JSON, "", {}, 0])
def test_unreadable_rules_are_named_and_stay_when_the_flag_is_disabled(
    rules: object, operator: Client, flag: FeatureFlag
) -> None:
    FeatureFlag.objects.update(enabled=True)
    store(rules)
    html = unescape(page(operator, flag_url(flag)))
    assert f"Workers cannot read these rules: {rule_problem(rules)}." in html
    assert f"{json.dumps(rules)}</span>" in html
    assert json.loads(json_of(operator, flag_url(flag))) == rules
    data = form_of(operator, flag)
    data.pop("enabled")
    assert operator.post(flag_url(flag), data).status_code == 302
    flag.refresh_from_db()
    assert (flag.enabled, flag.rules) == (False, rules)


LARGE = json.dumps([{"conditions": [{**COUNTRY, "values": ["x" * 1_000] * 100}]}])


def test_rules_that_are_not_in_the_form_say_why_and_are_kept(
    operator: Client, flag: FeatureFlag
) -> None:
    execute("UPDATE flagstaff_featureflag SET rules = %s::jsonb", LARGE)
    html = unescape(page(operator, flag_url(flag)))
    assert "too large to edit here. Use “manage.py flags rules new_checkout" in html
    assert len(html) < 100_000
    data = form_of(operator, flag, rollout_percent=5)
    assert "rules" not in data
    # They became short meanwhile.
    store(RULES)
    assert operator.post(flag_url(flag), data).status_code == 302
    flag.refresh_from_db()
    assert (flag.rollout_percent, flag.rules) == (5, RULES)


# Form errors.


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ('[{"name": "x",\n  "conditions": oops}]', "not valid JSON (line 2, column 17);"),
        ('{"conditions":[ ]}', rule_problem({"conditions": []})),
        (
            '[{"name": "big", "conditions": [{"segment": "enterprize"}]}]',
            (
                "rule 1 (\"big\") names the segment 'enterprize', which does not exist; "
                "did you mean 'enterprise'?"
            ),
        ),
    ],
    ids=["malformed", "unreadable", "missing segment"],
)
def test_invalid_rules_are_refused_and_kept(
    text: str, problem: str, operator: Client, flag: FeatureFlag
) -> None:
    response = operator.post(flag_url(flag), form_of(operator, flag, rules=text))
    form = response.context["adminform"].form
    [error] = form.errors["rules"]
    assert error.startswith(problem)
    assert form["rules"].value() == text
    assert len(sentences(response.content.decode())) == 2  # of the saved rules


def test_change_that_is_refused_while_saving_keeps_what_was_typed(
    operator: Client, flag: FeatureFlag, monkeypatch: pytest.MonkeyPatch
) -> None:
    write = RowAdmin._update

    def delete_segment_first(*args: Any) -> None:
        Segment.objects.filter(key="beta").delete()
        write(*args)

    def refuse(*_: object) -> None:
        raise InvalidChangeError("a worker is too old; update it first")

    Segment.objects.create(key="beta", conditions=[COUNTRY])
    text = '[{"conditions": [{"segment": "beta"}]}]'
    data = form_of(operator, flag, rules=text, description="One page")
    for update, problem in (
        (delete_segment_first, "does not exist"),
        (refuse, "a worker is too old; update it first"),
    ):
        monkeypatch.setattr(RowAdmin, "_update", update)
        form = operator.post(flag_url(flag), data).context["adminform"].form
        assert problem in str(form.errors)
        assert (form["rules"].value(), form["description"].value()) == (text, "One page")
        Segment.objects.get_or_create(key="beta", defaults={"conditions": [COUNTRY]})


def test_conflicting_rules_are_shown_in_sentences(operator: Client, flag: FeatureFlag) -> None:
    version = flag_version("new_checkout")
    # The order of names is no edit.
    data = form_of(operator, flag, rules=json.dumps(RULES, sort_keys=True))
    assert operator.post(flag_url(flag), data).status_code == 302
    assert flag_version("new_checkout") == version
    data = form_of(operator, flag, rules='[{"conditions": [{"segment": "enterprise"}]}]')
    changes.flags.update("new_checkout", {"rules": [{"name": "team", "conditions": [STAFF]}]})
    [error] = errors(operator, flag_url(flag), data)["rules"]
    assert 'Yours: rule 1: 100 % if in segment "enterprise".' in error
    assert 'Now in the database: "team": 100 % if is_staff is true' in error


# Messages, confirmations and the list.


def test_confirmation_and_message_of_turning_on_show_rules(
    operator: Client, flag: FeatureFlag
) -> None:
    flag.allowed_users.add(User.objects.create(username="ana"))
    rows = preview_of(operator.get(toggle_url(flag, "turn-on")))
    assert rows["state"] == ["off", "by rules"]
    assert rows["rules"][1].startswith('"team": 100 % if is_staff is true')
    who = (
        "On for 1 allowed user. For all others, the rules decide first. If no rule matches, on for "
        "10 %."
    )
    assert rows["who has the flag"][1] == who
    ignored = "rules on country are not counted"
    assert rows["users with the flag"] == [f"0 of 2; {ignored}", f"2 of 2; {ignored}"]
    [message] = messages_of(turn_on(operator, flag))
    assert f"is now on. {who}" in message


def test_list_shows_the_number_of_rules_and_filters_by_them(
    operator: Client, flag: FeatureFlag
) -> None:
    for rules, text in (
        ([], "10 %"),
        (RULES[:1], "10 % of the others 1 rule"),
        ({}, "10 % of the others unreadable rules"),
    ):
        store(rules)
        assert column(page(operator), "rollout") == [text]
    store(RULES)
    FeatureFlag.objects.create(key="plain")
    html = page(operator)
    assert column(html, "rollout") == ["10 % of the others 2 rules", "0 %"]
    for choice, keys in (("yes", ["new_checkout off"]), ("no", ["plain off"])):
        assert column(page(operator, f"{FLAGS}?has_rules={choice}"), "flag") == keys
    assert len(column(page(operator, f"{FLAGS}?has_rules=x"), "flag")) == 2


# Subclasses.


@pytest.mark.parametrize(
    ("options", "shown"),
    [
        (
            {"fieldsets": ((None, {"fields": ("key", ("enabled", "rules"))}),)},
            ["key", ("enabled", "rules")],
        ),
        ({"fields": ("saved_rules", "key", "rules")}, ["saved_rules", "key", "rules"]),
        (
            {"fields": ("key", "rules"), "readonly_fields": ("rules",)},
            ["key", "saved_rules"],
        ),
        ({"fields": ("key", "enabled")}, ["key", "enabled"]),
        ({"fields": ("key", "rules")}, ["key", "rules"]),
    ],
    ids=["before the JSON", "placed by the subclass", "read-only", "without rules", "fields"],
)
def test_subclass_shows_sentences(
    options: dict[str, Any], shown: list[Any], flag: FeatureFlag
) -> None:
    model_admin = type("Own", (FeatureFlagAdmin,), options)(FeatureFlag, AdminSite())
    assert model_admin.check() == []
    request = RequestFactory().get("/")
    request.user = User(is_superuser=True, is_active=True)
    assert model_admin.get_form(request, flag, change=True).base_fields
    fieldsets = model_admin.get_fieldsets(request, flag)
    found = [name for _title, one in fieldsets for name in one["fields"]]
    assert found[: len(shown)] == shown
