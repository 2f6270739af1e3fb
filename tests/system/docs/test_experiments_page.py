"""What the pages about experiments say is so."""

import json
import math
import re
import sys
from collections.abc import Iterator
from datetime import datetime, timedelta, timezone
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from asgiref.sync import async_to_sync
from django.contrib.auth.models import User
from django.db import connection, models
from django.template import RequestContext
from django.template.backends.jinja2 import Jinja2
from django.test.utils import isolate_apps
from pytest_django import Settings

from flagstaff import experiments
from flagstaff.experiments.measuring import measure
from flagstaff.experiments.metrics import find_metric
from flagstaff.experiments.models import Experiment, Exposure, State
from flagstaff.experiments.statistics.effects import (
    LEAST_CONTRIBUTORS,
    LEAST_CONVERSIONS,
    LEAST_STANDARD_ERRORS,
    LEAST_UNITS,
    Conversions,
    difference,
    proportion,
)
from flagstaff.experiments.statistics.mismatch import MISMATCH_ALPHA
from flagstaff.experiments.statistics.sequential import (
    ALPHA,
    EXCLUDED,
    FOUND,
    ON_AVERAGE,
    Plan,
    always_valid,
    critical_value,
)
from flagstaff.testing import override_variant
from tests.conftest import ROOT
from tests.support.pages import code_of, names_of, rows_of, template_of
from tests.support.sql import rows
from tests.support.terminals import ok
from tests.support.views import request_of, with_flags

PAGE, REFERENCE = "how-to/experiments.md", "reference/experiments.md"
TEXT = (ROOT / "docs" / REFERENCE).read_text()
KEY = "checkout_button"
START = datetime(2026, 1, 5, tzinfo=timezone.utc)
DAY = timedelta(days=1)
# Those of the first report of the page.
USERS, ORDERS = 6_550, {"control": 655, "treatment": 799}

pytestmark = pytest.mark.django_db


@pytest.fixture
def shop(monkeypatch: pytest.MonkeyPatch, settings: Settings) -> Iterator[Any]:
    """The module of the page's shop, with a table of orders and the settings of the page."""
    with isolate_apps("flagstaff"):

        class Order(models.Model):  # noqa: DJ008 (of a test)
            customer_id = models.BigIntegerField()
            created_at = models.DateTimeField()
            total = models.DecimalField(max_digits=9, decimal_places=2, default=10)
            item_count = models.IntegerField(default=2)
            refunded = models.BooleanField(default=False)

            class Meta:
                app_label = "flagstaff"
                db_table = "shop_order"

        with connection.schema_editor() as editor:
            editor.create_model(Order)
        shop = SimpleNamespace(models=SimpleNamespace(Order=Order), metrics=SimpleNamespace())
        monkeypatch.setitem(sys.modules, "shop", shop)
        monkeypatch.setitem(sys.modules, "shop.models", shop.models)
        monkeypatch.setitem(sys.modules, "shop.metrics", shop.metrics)
        shop.metrics.__dict__.update(names_of(PAGE, "def order_rows"))
        names = names_of(PAGE, '"flagstaff.experiments"')["FLAGSTAFF"]
        settings.FLAGSTAFF = {**settings.FLAGSTAFF, **names}
        yield shop


def flags(line: str) -> str:
    """Runs a command of the page that succeeds, and returns what it prints."""
    return ok(line.removeprefix("$ python manage.py flags ")).out


def expose(users: int = USERS, orders: Any = None, order: Any = None) -> None:
    """Spreads so many users of each variant over four weeks, of whom some order the next day."""
    experiment = Experiment.objects.get(key=KEY)
    Experiment.objects.update(started_at=START, runs_since=START)
    units = [
        (2 * number + place, variant, START + 28 * DAY * number / users, number)
        for place, variant in enumerate(("control", "treatment"))
        for number in range(users)
    ]
    Exposure.objects.bulk_create(
        Exposure(experiment=experiment, run=0, unit=str(unit), variant=variant, at=at)
        for unit, variant, at, _ in units
    )
    if order is not None:
        order.objects.bulk_create(
            order(customer_id=unit, created_at=at + DAY)
            for unit, variant, at, number in units
            # Evenly, so that the share is the same at all times.
            if number * orders[variant] % users < orders[variant]
        )


def commands(having: str, page: str = PAGE) -> list[str]:
    [block] = code_of(page, "console", having)
    return [line for line in block.splitlines() if line.startswith("$ python manage.py flags")]


def test_first_experiment_has_the_report_of_the_page(shop: Any) -> None:
    for line in commands("--planned-units 13100"):
        flags(line)
    assert Experiment.objects.get().state == State.RUNNING
    expose(USERS, ORDERS, shop.models.Order)
    [block] = code_of(PAGE, "console", "experiment report")
    command, _, expected = block.partition("\n")
    assert flags(command) == expected
    [ship] = commands("ship checkout_button")
    flags(ship)
    assert Experiment.objects.get().winner == "treatment"


def test_views_and_templates_show_the_button_of_the_variant() -> None:
    view = names_of(PAGE, '== "treatment":')["cart"]
    template = template_of(code_of(REFERENCE, "django")[0])
    for variant, button in [("treatment", "green button"), ("control", "blue button")]:
        with override_variant(KEY, variant):
            request = with_flags(request_of(User(pk=7)))
            assert view(request).content.decode() == button
            assert template.render(RequestContext(request)).strip() == button
    assert view(request_of(User(pk=7))).content == b"blue button"


def test_expressions_of_the_page_give_the_variant() -> None:
    [of_request] = re.findall(r"`(request\.flags\.variant\(.*?\))`", TEXT)
    [of_async_view] = re.findall(r"`(get_variant\(.*?\))`", TEXT)
    names: dict[str, Any] = {"get_variant": experiments.get_variant}
    exec(f"async def view(request):\n    return {of_async_view}", names)
    options = {"extensions": ["flagstaff.contrib.jinja2.FlagstaffExtension"]}
    backend = Jinja2({"NAME": "jinja2", "DIRS": [], "APP_DIRS": False, "OPTIONS": options})
    template = backend.from_string(f'{{{{ get_variant("{KEY}") }}}}')

    async def auser() -> User:
        return User(pk=7)

    with override_variant(KEY, "treatment"):
        request = with_flags(request_of(User(pk=7)))
        request.auser = auser
        assert eval(of_request, {"request": request}) == "treatment"
        assert async_to_sync(names["view"])(request) == "treatment"
        assert template.render({}, request) == "treatment"


def test_metrics_of_the_page_have_the_sums(shop: Any, settings: Settings) -> None:
    rows("CREATE TABLE shop_visit (user_id bigint, seen_at timestamptz, path text)")
    rows(
        "INSERT INTO shop_visit SELECT n, %s, '/cart/1' FROM generate_series(0, 4) AS n",
        START + 7.5 * DAY,
    )
    shop.metrics.__dict__.update(names_of(REFERENCE, "def payments"))
    names = ("revenue", "price_per_item", "refunded", "return_next_week")
    metrics = {name: f"shop.metrics.{name}" for name in names}
    settings.FLAGSTAFF = {**settings.FLAGSTAFF, "METRICS": metrics}
    experiment = experiments.create(KEY)
    Exposure.objects.bulk_create(
        Exposure(experiment=experiment, run=0, unit=unit, variant="control", at=START)
        for unit in map(str, range(10))
    )
    order = shop.models.Order
    order.objects.create(customer_id=1, created_at=START + DAY, refunded=True)
    order.objects.create(customer_id=1, created_at=START - DAY, total=7)
    sums_by_metric = {}
    for name in names:
        [hour] = measure(experiment, find_metric(name)).hours
        units = hour.sums.units
        sums_by_metric[name] = (
            round(hour.sums.of_y.mean * units),
            round(hour.sums.of_x.mean * units),
        )
    assert sums_by_metric == {
        "revenue": (10, 7),
        "price_per_item": (10, 2),
        "refunded": (1, 0),
        "return_next_week": (5, 0),
    }


def test_options_of_the_analysis_have_the_defaults_of_the_page() -> None:
    options = {
        re.findall(r"--([\w-]+)", option)[0]: default.strip("`").replace(",", "")
        for option, default, _ in rows_of(REFERENCE, "option of `create` and `edit`")
    }
    named = {"primary", "other", "guardrail", "smallest-effect"}
    defaults = {name.replace("-", "_"): options[name] for name in set(options) - named}
    assert set(defaults) == {"planned_units", "min_days", "min_units"}
    assert named < set(options)
    experiment = Experiment()
    assert defaults == {name: str(getattr(experiment, name)) for name in defaults}
    assert experiment.smallest_effect is None


def test_formula_of_the_page_gives_the_report_of_the_first_experiment() -> None:
    look = names_of(REFERENCE, "def look")["look"]
    [call] = re.findall(r"`(look\(.*\))`", TEXT)
    low, high, p_value = eval(call, {"look": look})
    [report] = code_of(PAGE, "console", "experiment report")
    assert f"{low:+.2%} to {high:+.1%}, p = {p_value:.4f}".replace("%", " %") in report
    control, treatment = Conversions(100, 20), Conversions(120, 36)
    interval = always_valid(difference(proportion(control), proportion(treatment)), Plan(500), 0.01)
    expected = (interval.low / 0.2, interval.high / 0.2, interval.p_value)
    assert look((20, 100), (36, 120), 500, 0.01) == pytest.approx(expected, rel=1e-4)


def test_limits_of_the_page_are_those_of_the_formulas() -> None:
    text = " ".join(TEXT.split())
    assert f"{LEAST_CONVERSIONS} units that converted and {LEAST_CONVERSIONS} that did not" in text
    assert f"{LEAST_UNITS} units, and at least {LEAST_CONTRIBUTORS} that make up the sum" in text
    assert f"at least {LEAST_STANDARD_ERRORS:g} standard errors above 0" in text
    assert f"Below {MISMATCH_ALPHA} it is a mismatch" in text
    units = 10_000
    assert critical_value(units, Plan(units)) / 1.96 == pytest.approx(1.5, abs=0.05)
    wrong = [
        critical_value(actual, Plan(units)) / critical_value(actual, Plan(actual)) - 1
        for actual in (units // 10, units * 10)
    ]
    assert [f"{share:.0%}" for share in wrong] == ["27%", "7%"]
    assert "27 % wider if the experiment gets a tenth of the planned units, and 7 % wider" in text
    for alpha, constant in [(ALPHA, "7.936"), (2 * ALPHA, "6.329")]:
        log = -2 * math.log(alpha)
        assert f"{log + math.log1p(log):.3f}" == constant
        assert constant in text
    assert f"plans {FOUND:g} times as many" in text
    assert f"after {ON_AVERAGE:g} times as many on average" in text
    assert f"after {EXCLUDED:g} times" in text


def test_page_of_the_first_experiment_is_short() -> None:
    assert len((ROOT / "docs" / PAGE).read_text().split()) <= 900


def test_rules_of_the_page_exclude_staff(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    [text] = code_of(REFERENCE, "json")
    (tmp_path / "rules.json").write_text(text)
    monkeypatch.chdir(tmp_path)
    [create] = commands("--rules rules.json", REFERENCE)
    flags(create)
    assert Experiment.objects.get().rules == json.loads(text)
    experiments.start(KEY)
    assert experiments.get_variant(KEY, User(pk=7, is_staff=True)) is None
    assert experiments.get_variant(KEY, User(pk=7)) in {"control", "treatment"}


def test_excluded_units_of_the_page_are_not_counted(shop: Any, settings: Settings) -> None:
    shop.metrics.__dict__.update(names_of(REFERENCE, "def staff"))
    experiments.create(KEY)
    experiments.start(KEY)
    staff = User.objects.create(username="ana", is_staff=True)
    expose(users=staff.pk)
    assert str(staff.pk) in set(Exposure.objects.values_list("unit", flat=True))
    counted = sum(experiments.report(KEY)["exposures"]["units"].values())
    excluded = names_of(REFERENCE, "EXCLUDED_UNITS")["FLAGSTAFF"]
    settings.FLAGSTAFF = {**settings.FLAGSTAFF, **excluded}
    assert sum(experiments.report(KEY)["exposures"]["units"].values()) == counted - 1
