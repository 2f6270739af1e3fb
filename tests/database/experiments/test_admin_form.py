"""The form of an experiment: rows of rules and guardrails, edits of drafts, and the estimate."""

from __future__ import annotations

import re
from datetime import timedelta
from html import unescape
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.test import Client
from django.utils import timezone

from flagstaff import experiments
from flagstaff.experiments.models import Experiment
from flagstaff.experiments.statistics import sample_size_of_proportions
from flagstaff.models import Segment
from tests.support.admin_pages import messages_of, page, staff
from tests.support.experiment_pages import (
    EXPERIMENTS,
    confirm_page,
    experiment_url,
    expose_both,
)
from tests.support.plan_pages import text_of

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("metrics")]

KEY = "checkout_button"
ADD = f"{EXPERIMENTS}add/"
NEW = {
    "key": KEY,
    "description": "Is a green button better?",
    "variants": "control\ntreatment",
    "bucket_by": "user",
    "rules-rows": "1",
    "primary_metric": "orders",
    "guardrails-0-metric": "",
    "guardrails-0-harm": "",
    "smallest_effect": "",
    "planned_units": "4000",
    "owner": "shop",
    "traffic_percent": "100",
    "method": "sequential",
    "min_days": "7",
    "min_units": "100",
    "_reason": "",
}
ROW = {
    "rules-0-name": "",
    "rules-0-rollout_percent": "",
    "rules-0-0-attribute": "is_staff",
    "rules-0-0-operator": "in",
    "rules-0-0-values": "true",
}
STAFF = [{"conditions": [{"attribute": "is_staff", "operator": "in", "values": [True]}]}]


@pytest.fixture
def draft() -> Experiment:
    experiments.create(KEY, ["control", "treatment:3"], rules=STAFF, owner="shop")
    guardrails = {"complaints": 0.012}
    return experiments.set_metrics(
        KEY, primary="orders", guardrails=guardrails, planned_units=4000, smallest_effect=0.02
    )


def experiment_of() -> Experiment:
    return Experiment.objects.get(key=KEY)


def edit_url(experiment: Experiment) -> str:
    return f"{experiment_url(experiment)}?edit=1"


def version_of(html: str) -> str:
    found: list[str] = re.findall(r'name="expect_version" value="(\d+)"', html)
    return found[0]


def edited(client: Client, experiment: Experiment, **changes: str) -> dict[str, str]:
    """Returns what the form of a draft posts."""
    version = version_of(page(client, edit_url(experiment)))
    values = {name: text for name, text in NEW.items() if name != "key"}
    return {**values, "expect_version": version, **changes}


def estimate(client: Client, **changes: str) -> str:
    """Returns what the form says about the time, without a save."""
    response = client.post(ADD, {**NEW, "_estimate": "1", **changes})
    assert not Experiment.objects.filter(key=changes.get("key", KEY)).exists()
    html = response.content.decode()
    return text_of(html.partition("flagstaff-estimate")[2].partition("</div>")[0])


# The form.


def test_form_has_twelve_fields_at_most_before_the_fold(operator: Client) -> None:
    html = page(operator, ADD).partition('class="flagstaff-form"')[2]
    seen = re.sub(r"<details.*?</details>", "", html, flags=re.DOTALL)
    assert 8 <= len(re.findall(r'class="form-row field-', seen)) <= 12
    assert 'name="owner"' not in seen
    assert 'name="owner"' in html


def test_fold_is_open_with_an_error_inside(operator: Client) -> None:
    html = operator.post(ADD, {**NEW, "min_days": "-1"}).content.decode()
    assert "<details open><summary>More" in html
    assert "<details open><summary>More" not in page(operator, ADD)


def test_rules_are_marked_while_they_are_typed(operator: Client, draft: Experiment) -> None:
    for url in (ADD, edit_url(draft)):
        data = {**NEW, **ROW, "rules-0-0-attribute": "is_stuff", "_edit": "preview"}
        html = operator.post(url, data).content.decode()
        assert "“is_stuff” is not known here; did you mean" in html
        assert "errorlist" not in html


def test_metrics_have_their_descriptions_and_units(operator: Client) -> None:
    html = page(operator, ADD)
    assert '<option value="orders">orders \N{EN DASH} a customer has paid</option>' in html
    guardrails = html.partition("flagstaff-guardrails")[2]
    assert ">orders (percentage points) \N{EN DASH} a customer has paid</option>" in guardrails
    assert ">revenue (in the unit of its values)</option>" in guardrails


def test_rows_of_rules_are_saved(operator: Client) -> None:
    Segment.objects.create(key="customers", conditions=STAFF[0]["conditions"])
    html = page(operator, ADD)
    assert "No rules: all units take part." in html
    assert "No rules: the rollout decides." not in html
    html = operator.post(ADD, {**NEW, "_edit": "segment"}).content.decode()
    assert '<option value="customers">customers</option>' in html
    operator.post(ADD, {**NEW, **ROW})
    assert experiment_of().rules == STAFF


def test_button_of_the_rule_rows_saves_nothing_and_shows_no_error(operator: Client) -> None:
    data = {**NEW, "key": "", "planned_units": "x", "owner": "typed"}
    response = operator.post(ADD, {**data, "_edit": "attribute"})
    html = response.content.decode()
    assert 'name="rules-0-0-attribute"' in html
    assert 'value="typed"' in html
    assert "errorlist" not in html
    assert "errornote" not in html
    assert not Experiment.objects.exists()


def test_condition_that_can_never_match_is_refused(operator: Client) -> None:
    response = operator.post(ADD, {**NEW, **ROW, "rules-0-0-values": "yes"})
    assert "it is true or false" in str(response.context["form"].errors["rules"])


def test_percentage_points_are_stored_as_shares(operator: Client) -> None:
    guardrails = {
        "guardrails-0-metric": "complaints",
        "guardrails-0-harm": "0.7",
        "guardrails-1-metric": "revenue",
        "guardrails-1-harm": "0.7",
    }
    operator.post(ADD, {**NEW, **guardrails, "smallest_effect": "1.1"})
    found = experiment_of()
    assert found.guardrails == {"complaints": 0.007, "revenue": 0.7}
    assert found.smallest_effect == 0.011


def test_effect_on_a_mean_is_stored_in_its_own_unit(operator: Client) -> None:
    operator.post(ADD, {**NEW, "primary_metric": "revenue", "smallest_effect": "1.1"})
    assert experiment_of().smallest_effect == 1.1


def test_guardrail_in_two_rows_is_refused(operator: Client) -> None:
    rows = {f"guardrails-{n}-{part}": text for n in (0, 3) for part, text in _COMPLAINTS}
    response = operator.post(ADD, {**NEW, **rows})
    assert "complaints has two rows." in str(response.context["form"].errors["guardrails"])


_COMPLAINTS = (("metric", "complaints"), ("harm", "1"))


def test_required_reason_is_asked_by_the_form(operator: Client, settings: Any) -> None:
    settings.FLAGSTAFF = {**settings.FLAGSTAFF, "REQUIRE_REASON": True}
    response = operator.post(ADD, NEW)
    assert "A reason is required." in str(response.context["form"].errors["_reason"])
    operator.post(ADD, {**NEW, "_reason": "spring"})
    assert experiment_of().events.get(kind="created").reason == "spring"


# Edits of a draft.


def test_edit_is_prefilled(operator: Client, draft: Experiment) -> None:
    assert 'href="?edit=1"' in page(operator, experiment_url(draft))
    html = page(operator, edit_url(draft))
    assert 'name="key"' not in html
    assert re.search(r'name="variants"[^>]*>\s*control\ntreatment:3</textarea>', html)
    assert re.search(r'name="rules-0-0-attribute" value="is_staff"', html)
    assert re.search(r'name="smallest_effect" value="2"', html)
    assert re.search(r'name="guardrails-0-harm"[^>]* value="1.2"', html)
    assert '<option value="orders" selected>' in html


def test_edit_changes_a_draft(operator: Client, draft: Experiment) -> None:
    data = edited(operator, draft, owner="web", planned_units="9000", smallest_effect="3")
    response = operator.post(edit_url(draft), data, follow=True)
    assert messages_of(response) == [f"The experiment “{KEY}” was saved."]
    assert response.redirect_chain[-1][0] == experiment_url(draft)
    found = experiment_of()
    assert (found.owner, found.planned_units, found.smallest_effect) == ("web", 9000, 0.03)
    assert (found.rules, found.guardrails) == ([], {})
    assert found.events.latest("id").kind == "edited"


def test_edit_of_an_old_form_is_refused_and_keeps_what_was_typed(
    operator: Client, draft: Experiment
) -> None:
    data = edited(operator, draft, owner="typed here", smallest_effect="2")
    experiments.edit(KEY, description="Written meanwhile.")
    response = operator.post(edit_url(draft), data)
    html = unescape(response.content.decode())
    assert "Not saved: the experiment has changed since you opened the form: " in html
    assert "Written meanwhile." in html
    assert "Save again to replace the changes." in html
    assert 'value="typed here"' in html
    assert experiment_of().owner == "shop"
    operator.post(edit_url(draft), {**data, "expect_version": version_of(html)})
    assert experiment_of().owner == "typed here"


def test_edit_of_a_draft_that_was_started_keeps_what_was_typed(
    operator: Client, draft: Experiment
) -> None:
    data = edited(operator, draft, owner="typed here", smallest_effect="2")
    experiments.start(KEY)
    html = operator.post(edit_url(draft), data).content.decode()
    assert "Not saved: the experiment has changed since you opened the form: started" in html
    assert 'value="typed here"' in html
    html = operator.post(
        edit_url(draft), {**data, "expect_version": version_of(html)}
    ).content.decode()
    assert "cannot be edited" in html
    assert experiment_of().owner == "shop"


def test_edit_needs_a_draft_and_the_permission(operator: Client, draft: Experiment) -> None:
    viewer = staff("view_experiment")
    assert "?edit=1" not in page(viewer, experiment_url(draft))
    assert viewer.get(edit_url(draft)).status_code == 403
    experiments.start(KEY)
    assert "?edit=1" not in page(operator, experiment_url(draft))
    assert operator.get(edit_url(draft)).status_code == 302


# How long it takes.


def test_estimate_without_figures_says_what_it_needs(operator: Client) -> None:
    User.objects.update(last_login=None)
    text = estimate(operator, bucket_by="visitor")
    assert "How long 4,000 planned units take is not known" in text
    assert "Divide them by the new units per day." in text
    assert "Choose one." in estimate(operator, primary_metric="")


def test_estimate_counts_users_who_logged_in_lately(operator: Client) -> None:
    User.objects.bulk_create(
        User(username=f"u{n}", last_login=timezone.now() - timedelta(days=n)) for n in range(1, 57)
    )
    text = estimate(operator, planned_units="280")
    assert "280 planned units take at least 281 days, with the window of the metric" in text
    assert "28 users logged in in the last 28 days" in text
    assert "560 days: " in estimate(operator, planned_units="280", traffic_percent="50", **_NONE)


_NONE = {"primary_metric": ""}


def test_estimate_counts_the_exposures_of_an_earlier_experiment(operator: Client) -> None:
    experiments.create("earlier", traffic_percent=50)
    experiments.set_metrics("earlier", primary="orders")
    found = experiments.start("earlier")
    expose_both(found, (500, 50), (500, 60))
    text = estimate(operator)
    # 1,000 units in ten days, of half of the traffic.
    assert "4,000 planned units take at least 21 days" in text
    assert "“earlier” had about 200 new units a day." in text
    assert "With 10.0 % as in “earlier” now, the planned units find a change to 12.8 %" in text


def test_estimate_assumes_values_of_a_share_that_nothing_has_measured(operator: Client) -> None:
    text = estimate(operator)
    assert "No experiment has measured “orders” yet, so its value now is assumed." in text
    assert "With 10.0 % now, the planned units find a change to 12.8 % or more" in text
    assert "With 50.0 % now, the planned units find a change to 54.4 % or more" in text
    assert "up to 1.2 times as many" in text
    assert "up to 1.2 times as many" not in estimate(operator, method="fixed")


def test_estimate_uses_the_value_of_a_stored_report(operator: Client) -> None:
    experiments.create("earlier")
    experiments.set_metrics("earlier", primary="orders")
    expose_both(experiments.start("earlier"), (500, 100), (500, 110))
    experiments.ship("earlier", "treatment")
    text = estimate(operator, smallest_effect="1")
    units = sample_size_of_proportions(0.2, 0.21).total
    text = text.partition("With 20.0 % as in “earlier” now, a change by 1.00 points needs ")[2]
    assert text.startswith(f"{units:,} units, more than are planned: at least ")


def test_estimate_of_an_effect_that_cannot_be_says_so(operator: Client) -> None:
    assert "a change by 99.0 points is not possible." in estimate(operator, smallest_effect="99")


def test_estimate_of_a_mean_needs_its_deviation(operator: Client) -> None:
    text = estimate(operator, primary_metric="revenue")
    assert "no experiment has measured “revenue” yet" in text
    experiments.create("earlier")
    experiments.set_metrics("earlier", primary="revenue")
    expose_both(experiments.start("earlier"), (500, 100), (500, 110))
    text = estimate(operator, primary_metric="revenue", smallest_effect="0.05")
    assert "With 0.2 as in “earlier” now, a change by 0.05 needs 2,01" in text


def test_page_of_a_draft_says_how_long_it_takes(operator: Client, draft: Experiment) -> None:
    html = page(operator, experiment_url(draft))
    assert "How long it takes" in html
    assert "a change by 2.00 points needs" in text_of(html)
    experiments.start(KEY)
    assert "How long it takes" not in page(operator, experiment_url(draft))


def test_start_page_has_no_form_fields(operator: Client, draft: Experiment) -> None:
    assert "smallest_effect" not in confirm_page(operator, draft, "start")
