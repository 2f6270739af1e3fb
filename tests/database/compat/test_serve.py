from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
import waffle
from django.apps import apps
from django.contrib.auth.models import AnonymousUser, Group, User
from django.core.cache import cache
from django.template import Context, Engine
from django.test import RequestFactory
from django.utils.functional import SimpleLazyObject
from waffle.models import Flag, Sample, Switch

from flagstaff import changes
from flagstaff._words.times import today
from flagstaff.models import FeatureFlag
from flagstaff.testing import override_flag

pytestmark = pytest.mark.django_db

_TEST_RULES = [
    {
        "name": f"waffle test {value}",
        "conditions": [{"attribute": "waffle_test", "operator": "in", "values": [value]}],
        "rollout_percent": percent,
    }
    for value, percent in (("1", 100), ("0", 0))
]


@pytest.fixture(autouse=True)
def _serves_without_a_mirror(settings: Any) -> None:
    serve(settings)
    # Waffle empties it after a commit only.
    cache.clear()


def serve(settings: Any, **options: object) -> None:
    settings.FLAGSTAFF = {"WAFFLE": {"SERVE": True, "MIRROR": False, **options}}


def request_of(user: object = None, path: str = "/", **cookies: str) -> Any:
    request = RequestFactory().get(path)
    request.user = AnonymousUser() if user is None else user  # type: ignore[assignment]
    request.COOKIES.update(cookies)
    return request


def rule(attribute: str, *values: object) -> dict[str, object]:
    condition = {"attribute": attribute, "operator": "in", "values": list(values)}
    return {"name": attribute, "conditions": [condition], "rollout_percent": 100}


def test_served_flag_returns_the_result_of_flagstaff() -> None:
    Flag.objects.create(name="search", everyone=False)
    changes.create("search", enabled=True, rollout_percent=100)
    assert waffle.flag_is_active(request_of(), "search") is True


def test_flag_without_a_row_in_flagstaff_is_evaluated_by_waffle() -> None:
    Flag.objects.create(name="search", everyone=True)
    assert waffle.flag_is_active(request_of(), "search") is True


def test_flag_without_a_row_in_waffle_is_served() -> None:
    changes.create("search", enabled=True, rollout_percent=100)
    assert waffle.flag_is_active(request_of(), "search") is True


def test_flag_that_no_pattern_names_is_evaluated_by_waffle(settings: Any) -> None:
    serve(settings, SERVE=["beta_*"])
    changes.create("search", enabled=True, rollout_percent=100)
    changes.create("beta_search", enabled=True, rollout_percent=100)
    assert waffle.flag_is_active(request_of(), "search") is False
    assert waffle.flag_is_active(request_of(), "beta_search") is True


def test_switch_and_sample_are_served() -> None:
    changes.create("search", enabled=True, rollout_percent=100)
    changes.create("tracing", enabled=True, rollout_percent=50, bucket_by="waffle_sample")
    assert waffle.switch_is_active("search") is True
    results = {waffle.sample_is_active("tracing") for _ in range(100)}
    assert results == {True, False}


def test_switch_with_the_name_of_a_flag_has_the_key_of_the_setting(settings: Any) -> None:
    serve(settings, KEYS={"switch:search": "search.switch"})
    changes.create("search", enabled=True, rollout_percent=100)
    changes.create("search.switch", enabled=False)
    assert waffle.flag_is_active(request_of(), "search") is True
    assert waffle.switch_is_active("search") is False


def test_flag_of_a_name_that_is_no_key_is_served_by_its_key() -> None:
    changes.create("new_search", enabled=True, rollout_percent=100)
    assert waffle.flag_is_active(request_of(), "new search") is True


def test_request_without_a_user_has_no_percentage_and_no_cookie(settings: Any) -> None:
    serve(settings, KEEP_COOKIES_UNTIL=today() + timedelta(days=1))
    changes.create("search", enabled=True, rollout_percent=99, bucket_by="visitor")
    request = request_of(dwf_search="True")
    del request.user
    assert waffle.flag_is_active(request, "search") is False


def test_no_request_has_the_result_of_an_anonymous_user() -> None:
    changes.create("search", enabled=True, rollout_percent=100)
    changes.create("beta", enabled=True, rollout_percent=99, bucket_by="visitor")
    assert waffle.flag_is_active(None, "search") is True  # type: ignore[arg-type]
    assert waffle.flag_is_active(None, "beta") is False  # type: ignore[arg-type]


def test_language_and_group_of_a_request_decide() -> None:
    changes.create("search", enabled=True, rules=[rule("language", "de"), rule("groups", "beta")])
    user = User.objects.create(username="ann")
    assert waffle.flag_is_active(request_of(user), "search") is False
    request = request_of()
    request.LANGUAGE_CODE = "de"
    assert waffle.flag_is_active(request, "search") is True
    user.groups.add(Group.objects.create(name="beta"))
    assert waffle.flag_is_active(request_of(user), "search") is True


def test_user_that_decides_nothing_is_not_loaded() -> None:
    changes.create("search", enabled=True, rollout_percent=100)
    request = RequestFactory().get("/")
    request.user = SimpleLazyObject(lambda: pytest.fail("loaded"))  # type: ignore[assignment]
    assert waffle.flag_is_active(request, "search") is True


def test_unsaved_staff_has_a_flag_for_staff() -> None:
    changes.create("search", enabled=True, rules=[rule("is_staff", True)])
    assert waffle.flag_is_active(request_of(User(is_staff=True)), "search") is True
    assert waffle.flag_is_active(request_of(User()), "search") is False


@pytest.mark.parametrize(
    ("path", "cookies", "active"),
    [
        ("/?dwft_search=1", {}, True),
        ("/?dwft_search=0", {}, False),
        ("/", {"dwft_search": "True"}, True),
        ("/?dwft_search=0", {"dwft_search": "True"}, False),
        ("/", {}, False),
    ],
)
def test_test_parameter_decides(path: str, cookies: dict[str, str], active: bool) -> None:
    changes.create("search", enabled=True, rules=_TEST_RULES)
    assert waffle.flag_is_active(request_of(path=path, **cookies), "search") is active


def test_test_parameter_in_the_header_decides_and_is_kept() -> None:
    changes.create("search", enabled=True, rules=_TEST_RULES)
    request = RequestFactory().get("/", headers={"dwft-search": "1"})
    request.user = AnonymousUser()
    assert waffle.flag_is_active(request, "search") is True
    assert request.waffle_tests == {"search": True}  # type: ignore[attr-defined]


def test_test_parameter_of_a_flag_without_testing_is_not_kept() -> None:
    changes.create("search", enabled=True, rollout_percent=100)
    request = request_of(path="/?dwft_search=1")
    assert waffle.flag_is_active(request, "search") is True
    assert not hasattr(request, "waffle_tests")


def test_override_in_the_query_wins_if_waffle_allows_it(settings: Any) -> None:
    settings.WAFFLE_OVERRIDE = True
    changes.create("search", enabled=False)
    assert waffle.flag_is_active(request_of(path="/?search=1"), "search") is True
    settings.WAFFLE_OVERRIDE = False
    assert waffle.flag_is_active(request_of(path="/?search=1"), "search") is False


def test_kept_cookie_decides_where_the_percentage_of_the_flag_does(settings: Any) -> None:
    serve(settings, KEEP_COOKIES_UNTIL=today() + timedelta(days=1))
    changes.create("search", enabled=True, rollout_percent=50, bucket_by="visitor")
    for value, active in (("True", True), ("False", False), ("1", False)):
        assert waffle.flag_is_active(request_of(dwf_search=value), "search") is active


@pytest.mark.parametrize(
    ("fields", "active"),
    [
        ({"enabled": False, "rollout_percent": 50}, False),
        ({"enabled": True, "rollout_percent": 0}, False),
        ({"enabled": True, "rollout_percent": 50, "rules": [rule("language", "de")]}, True),
        ({"enabled": True, "rollout_percent": 100}, True),
    ],
)
def test_kept_cookie_does_not_decide_otherwise(
    settings: Any, fields: dict[str, Any], active: bool
) -> None:
    serve(settings, KEEP_COOKIES_UNTIL=today() + timedelta(days=1))
    changes.create("search", bucket_by="visitor", **fields)
    request = request_of(dwf_search="False" if active else "True")
    request.LANGUAGE_CODE = "de"
    assert waffle.flag_is_active(request, "search") is active


@pytest.mark.parametrize("use_tz", [True, False])
def test_cookie_is_ignored_after_its_last_day(use_tz: bool, settings: Any) -> None:
    settings.USE_TZ = use_tz
    changes.create("search", enabled=True, rollout_percent=1, bucket_by="user")
    for day, active in ((0, True), (-1, False)):
        serve(settings, KEEP_COOKIES_UNTIL=today() + timedelta(days=day))
        assert waffle.flag_is_active(request_of(dwf_search="True"), "search") is active


def test_drawn_percentage_is_kept_for_the_cookie(settings: Any) -> None:
    serve(settings, PERCENT="cookie")
    changes.create("search", enabled=True, rollout_percent=50)
    drawn = set()
    for _ in range(100):
        request = request_of()
        result = waffle.flag_is_active(request, "search")
        assert request.waffles == {"search": [result, False]}
        assert waffle.flag_is_active(request, "search") is result
        drawn.add(result)
    assert drawn == {True, False}


def test_read_only_evaluation_draws_nothing(settings: Any) -> None:
    serve(settings, PERCENT="cookie")
    changes.create("search", enabled=True, rollout_percent=99)
    request = request_of()
    assert waffle.flag_is_active(request, "search", read_only=True) is False
    assert not hasattr(request, "waffles")


def test_is_active_for_user_ignores_the_percentage() -> None:
    user = User.objects.create(username="ann", is_staff=True)
    flag = Flag.objects.create(name="search")
    row = FeatureFlag.objects.create(key="search", enabled=True, rollout_percent=99)
    assert flag.is_active_for_user(user) is None
    row.allowed_users.add(user)
    assert flag.is_active_for_user(user) is True
    changes.update("search", {"allowed_users": [], "rules": [rule("is_staff", True)]})
    assert flag.is_active_for_user(user) is True
    changes.disable("search")
    assert flag.is_active_for_user(user) is False


def test_is_active_for_user_of_an_unknown_flag_is_that_of_waffle() -> None:
    user = User.objects.create(username="ann", is_superuser=True)
    assert Flag.objects.create(name="search").is_active_for_user(user) is True


def test_override_of_flagstaff_applies_to_waffle() -> None:
    Switch.objects.create(name="search", active=False)
    with override_flag("search", True):
        assert waffle.switch_is_active("search") is True
    assert waffle.switch_is_active("search") is False


def test_nothing_is_served_by_default(settings: Any) -> None:
    settings.FLAGSTAFF = {"WAFFLE": {"MIRROR": False}}
    changes.create("search", enabled=True, rollout_percent=100)
    Sample.objects.create(name="search", percent=0)
    assert waffle.flag_is_active(request_of(), "search") is False
    assert waffle.switch_is_active("search") is False
    assert waffle.sample_is_active("search") is False


@pytest.mark.parametrize("serve_setting", [True, ["beta_*"]])
def test_name_that_is_no_text_is_an_unknown_flag(settings: Any, serve_setting: object) -> None:
    serve(settings, SERVE=serve_setting)
    name: Any = True
    assert waffle.flag_is_active(request_of(), name) is False
    assert waffle.switch_is_active(name) is False
    template = Engine(libraries={"waffle_tags": "waffle.templatetags.waffle_tags"}).from_string(
        "{% load waffle_tags %}{% flag variable %}on{% else %}off{% endflag %}"
    )
    assert template.render(Context({"request": request_of(), "variable": True})) == "off"


def test_app_that_is_ready_twice_replaces_each_method_once() -> None:
    before = [Flag.is_active, Flag.is_active_for_user, Switch.is_active, Sample.is_active]
    saves = [Flag.save, Flag.delete]
    apps.get_app_config("flagstaff_compat").ready()
    now = [Flag.is_active, Flag.is_active_for_user, Switch.is_active, Sample.is_active]
    assert (now, [Flag.save, Flag.delete]) == (before, saves)
