"""The extension for Jinja2, through Django's own backend."""

from __future__ import annotations

from typing import Any

import pytest
from django.contrib.auth.models import AnonymousUser, User
from django.http import HttpRequest, HttpResponse
from django.template import engines
from django.template.backends.jinja2 import Jinja2
from django.test import RequestFactory
from django.utils.functional import SimpleLazyObject
from jinja2 import DictLoader, Environment, TemplateRuntimeError, TemplateSyntaxError
from jinja2.sandbox import SandboxedEnvironment

from flagstaff.middleware import FlagstaffMiddleware
from flagstaff.models import FeatureFlag, KeyValueStore
from tests.conftest import RunIsolated

pytestmark = pytest.mark.django_db

EXTENSION = "flagstaff.jinja2.FlagstaffExtension"
CHECKOUT = '{% flag "new_checkout" %}new{% else %}old{% endflag %}'


@pytest.fixture(autouse=True)
def backend(settings: Any) -> None:
    settings.TEMPLATES = [
        {
            "BACKEND": "django.template.backends.jinja2.Jinja2",
            "NAME": "jinja2",
            "OPTIONS": {"extensions": [EXTENSION]},
        }
    ]


@pytest.fixture
def alice() -> User:
    """A user who is on the allow-list."""
    alice = User.objects.create(username="alice")
    FeatureFlag.objects.create(key="new_checkout", enabled=True).allowed_users.add(alice)
    KeyValueStore.objects.create(key="gateway", value="stripe")
    return alice


@pytest.fixture
def bob() -> User:
    return User.objects.create(username="bob")


def asked_by(user: Any) -> HttpRequest:
    request = RequestFactory().get("/")
    request.user = user
    return request


def shown(text: str, request: HttpRequest | None = None, **context: Any) -> str:
    engine = engines["jinja2"]
    assert isinstance(engine, Jinja2)
    return str(engine.from_string(text).render(context, request))


# The tag.


def test_tag_asks_for_the_user_of_the_request(alice: User, bob: User) -> None:
    assert shown(CHECKOUT, asked_by(alice)) == "new"
    assert shown(CHECKOUT, asked_by(bob), user=alice) == "old"
    assert shown(CHECKOUT, asked_by(AnonymousUser())) == "old"


def test_tag_asks_for_the_user_of_the_context_where_there_is_no_request(alice: User) -> None:
    assert shown(CHECKOUT, user=alice) == "new"
    assert shown(CHECKOUT, RequestFactory().get("/"), user=alice) == "new"


def test_tag_asks_for_nobody_where_there_is_neither(alice: User) -> None:
    assert shown(CHECKOUT) == "old"


@pytest.mark.parametrize("comma", [", ", " "])
def test_user_after_the_key_goes_before_all_others(comma: str, alice: User, bob: User) -> None:
    text = f'{{% flag "new_checkout"{comma}order.customer %}}new{{% else %}}old{{% endflag %}}'
    assert shown(text, asked_by(bob), order={"customer": alice}) == "new"
    assert shown(text, asked_by(bob), order={"customer": alice.pk}) == "new"
    assert shown(text, asked_by(alice), order={"customer": None}) == "old"


def test_user_after_the_key_that_is_not_there_is_nobody(alice: User) -> None:
    FeatureFlag.objects.update(rollout_percent=99)
    text = '{% flag "new_checkout", custmoer %}new{% else %}old{% endflag %}'
    assert shown(text, asked_by(alice)) == "old"


def test_else_may_be_left_out(alice: User, bob: User) -> None:
    text = '[{% flag "new_checkout" %}new{% endflag %}]'
    assert (shown(text, asked_by(alice)), shown(text, asked_by(bob))) == ("[new]", "[]")


def test_key_can_be_an_expression(alice: User) -> None:
    text = "{% flag 'new_' ~ name %}new{% endflag %}{% flag keys[0]|lower %}new{% endflag %}"
    assert shown(text, asked_by(alice), name="checkout", keys=["NEW_CHECKOUT"]) == "newnew"


def test_tag_stands_within_and_around_others(alice: User, bob: User) -> None:
    text = (
        "{% for user in users %}"
        "{%- flag 'new_checkout', user -%} {% if loop.first %}{{ user }}{% endif %}"
        "{% flag 'banner' %}!{% else %}.{% endflag %}"
        "{%- else -%} - {%- endflag -%}"
        "{% endfor %}"
    )
    assert shown(text, users=[alice, bob, alice]) == "alice.-."


def test_what_is_set_within_is_seen_after_it_as_with_if(alice: User) -> None:
    text = "{% flag 'new_checkout' %}{% set design = 'new' %}{% endflag %}{{ design }}"
    assert shown(text, asked_by(alice)) == "new"


def test_tag_does_not_read_the_user_in_vain(alice: User) -> None:
    FeatureFlag.objects.update(rollout_percent=100)
    user = SimpleLazyObject(lambda: pytest.fail("the user was read"))
    assert shown(CHECKOUT, asked_by(user)) == "new"


BASE = "{% block body %}{% endblock %}"
CHILD = '{% extends "base" %}{% block body %}{% include "part" %}{{ card() }}{% endblock %}'
MACRO = '{% from "macros" import card with context %}'
TEMPLATES = {
    "base": BASE,
    "child": MACRO + CHILD,
    "part": CHECKOUT,
    "macros": "{% macro card() %}, " + CHECKOUT + "{% endmacro %}",
}


@pytest.mark.parametrize("environment", [Environment, SandboxedEnvironment])
def test_tag_stands_in_blocks_included_templates_and_macros(
    environment: type[Environment], alice: User
) -> None:
    made = environment(loader=DictLoader(TEMPLATES), extensions=[EXTENSION], autoescape=True)
    assert made.get_template("child").render(request=asked_by(alice)) == "new, new"


def refusal(kind: type[Exception], text: str) -> str:
    with pytest.raises(kind) as error:
        shown(text)
    return str(error.value)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        (
            "{% flag %}{% endflag %}",
            'flag takes the key of a flag and perhaps a user, as in {% flag "new_checkout" %}',
        ),
        ("{% flag 'a', %}{% endflag %}", "unexpected 'end of statement block'"),
        ("{% flag 'a', b, c %}{% endflag %}", "expected token 'end of statement block', got ','"),
    ],
)
def test_tag_that_is_wrong_is_a_syntax_error(text: str, told: str) -> None:
    assert refusal(TemplateSyntaxError, text) == told


def test_tag_that_is_not_closed_is_named() -> None:
    told = refusal(TemplateSyntaxError, "{% flag 'a' %}{% else %}")
    assert "'endflag'" in told


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("{% flag new_checkout %}{% endflag %}", "the key of flag must be a text, not ''"),
        ("{% flag 42 %}{% endflag %}", "the key of flag must be a text, not 42"),
        ("{{ flag_enabled(checkout) }}", "the key of flag_enabled must be a text, not ''"),
        ("{{ get_value(none) }}", "the key of get_value must be a text, not None"),
    ],
)
def test_key_without_quotes_is_refused(text: str, told: str) -> None:
    assert refusal(TemplateRuntimeError, text) == f"{told}; put it in quotes"


# The functions.


def test_function_asks_for_the_user_of_the_request_or_another(alice: User, bob: User) -> None:
    text = "{{ flag_enabled('new_checkout') }} {{ flag_enabled('new_checkout', other) }}"
    assert shown(text, asked_by(alice), other=bob) == "True False"
    assert shown(text, asked_by(bob), other=alice) == "False True"
    assert shown(text, asked_by(alice), other=None) == "True False"
    assert shown(text, asked_by(alice)) == "True False"


def test_functions_have_defaults(alice: User) -> None:
    text = "{{ flag_enabled('missing', default=true) }} {{ get_value('missing', 7) }}"
    assert shown(text) == "True 7"


def test_value_is_given_as_it_is_and_escaped_as_ever(alice: User) -> None:
    KeyValueStore.objects.create(key="cities", value=["Rome", "<Oslo>"])
    text = "{{ get_value('gateway') }} {% for c in get_value('cities') %}{{ c }} {% endfor %}"
    assert shown(text) == "stripe Rome &lt;Oslo&gt; "


def test_all_questions_are_of_the_requests_moment(alice: User) -> None:
    request: Any = asked_by(alice)
    FlagstaffMiddleware(lambda request: HttpResponse())(request)
    assert request.flags.enabled("new_checkout") is True
    FeatureFlag.objects.update(enabled=False)
    KeyValueStore.objects.update(value="paypal")
    text = CHECKOUT + " {{ flag_enabled('new_checkout') }} {{ get_value('gateway') }}"
    assert shown(text, request) == "new True stripe"
    assert shown(text, asked_by(alice)) == "old False paypal"


WITHOUT_EITHER = """
import sys
sys.modules["jinja2"] = sys.modules["rest_framework"] = None
import os
os.environ["DJANGO_SETTINGS_MODULE"] = "tests.settings"
import django
django.setup()
from flagstaff import context_processors, decorators, middleware, mixins, testing
print("fine")
"""


def test_package_needs_neither_jinja2_nor_rest_framework(run_isolated: RunIsolated) -> None:
    assert run_isolated(WITHOUT_EITHER) == "fine\n"
