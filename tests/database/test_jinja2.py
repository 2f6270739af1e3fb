"""The Jinja2 extension in Django's Jinja2 backend."""

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
    """An allowed user of new_checkout."""
    alice = User.objects.create(username="alice")
    FeatureFlag.objects.create(key="new_checkout", enabled=True).allowed_users.add(alice)
    KeyValueStore.objects.create(key="gateway", value="stripe")
    return alice


@pytest.fixture
def bob() -> User:
    return User.objects.create(username="bob")


def request_of(user: Any) -> HttpRequest:
    request = RequestFactory().get("/")
    request.user = user
    return request


def rendered(text: str, request: HttpRequest | None = None, **context: Any) -> str:
    engine = engines["jinja2"]
    assert isinstance(engine, Jinja2)
    return str(engine.from_string(text).render(context, request))


@pytest.fixture
def german() -> None:
    """A flag for those in Germany."""
    rules = [{"conditions": [{"attribute": "country", "operator": "in", "values": ["DE"]}]}]
    FeatureFlag.objects.create(key="new_checkout", enabled=True, rules=rules)


# The context of a flag.


@pytest.mark.usefixtures("german")
@pytest.mark.parametrize("arguments", ["", "customer, ", "missing, "])
def test_names_with_values_are_the_context_of_the_tag(arguments: str) -> None:
    arguments = f"{arguments}country=order.country"
    text = f'{{% flag "new_checkout", {arguments} %}}new{{% else %}}old{{% endflag %}}'
    assert rendered(text, order={"country": "DE"}) == "new"
    assert rendered(text, request_of(AnonymousUser()), order={"country": "DE"}) == "new"
    assert rendered(text, order={"country": "FR"}) == "old"
    assert rendered(text, order={}) == "old"


@pytest.mark.usefixtures("german")
def test_function_accepts_a_context() -> None:
    text = "{{ flag_enabled('new_checkout', context={'country': country}) }}"
    assert rendered(text, country="DE") == "True"
    assert rendered(text, country="FR") == "False"


@pytest.mark.usefixtures("german")
def test_argument_after_a_name_with_a_value_is_a_syntax_error() -> None:
    text = "{% flag 'new_checkout', country='DE', customer %}{% endflag %}"
    with pytest.raises(TemplateSyntaxError, match="a key, a user, and then names with values"):
        rendered(text)


@pytest.mark.parametrize("name", ["user", "context"])
def test_names_of_arguments_are_no_names_of_the_context(name: str) -> None:
    text = "{% flag 'new_checkout', " + name + "=customer %}{% endflag %}"
    with pytest.raises(TemplateSyntaxError, match=f"flag has no argument '{name}'"):
        rendered(text)


def test_context_of_a_wrong_type_raises_type_error() -> None:
    with pytest.raises(TypeError, match="context must be a mapping"):
        rendered("{{ flag_enabled('new_checkout', context=['DE']) }}")


# The tag.


def test_tag_uses_user_of_request(alice: User, bob: User) -> None:
    assert rendered(CHECKOUT, request_of(alice)) == "new"
    assert rendered(CHECKOUT, request_of(bob), user=alice) == "old"
    assert rendered(CHECKOUT, request_of(AnonymousUser())) == "old"


def test_tag_without_request_user_uses_user_of_context(alice: User) -> None:
    assert rendered(CHECKOUT, user=alice) == "new"
    assert rendered(CHECKOUT, RequestFactory().get("/"), user=alice) == "new"


def test_tag_without_request_and_user_is_anonymous(alice: User) -> None:
    assert rendered(CHECKOUT) == "old"


@pytest.mark.parametrize("comma", [", ", " "])
def test_user_argument_overrides_user_of_request(comma: str, alice: User, bob: User) -> None:
    text = f'{{% flag "new_checkout"{comma}order.customer %}}new{{% else %}}old{{% endflag %}}'
    assert rendered(text, request_of(bob), order={"customer": alice}) == "new"
    assert rendered(text, request_of(bob), order={"customer": alice.pk}) == "new"
    assert rendered(text, request_of(alice), order={"customer": None}) == "old"


def test_undefined_user_argument_is_anonymous(alice: User) -> None:
    FeatureFlag.objects.update(rollout_percent=99)
    text = '{% flag "new_checkout", custmoer %}new{% else %}old{% endflag %}'
    assert rendered(text, request_of(alice)) == "old"


def test_else_is_optional(alice: User, bob: User) -> None:
    text = '[{% flag "new_checkout" %}new{% endflag %}]'
    assert (rendered(text, request_of(alice)), rendered(text, request_of(bob))) == ("[new]", "[]")


def test_key_may_be_expression(alice: User) -> None:
    text = "{% flag 'new_' ~ name %}new{% endflag %}{% flag keys[0]|lower %}new{% endflag %}"
    assert rendered(text, request_of(alice), name="checkout", keys=["NEW_CHECKOUT"]) == "newnew"


def test_tag_nests_with_other_tags(alice: User, bob: User) -> None:
    text = (
        "{% for user in users %}"
        "{%- flag 'new_checkout', user -%} {% if loop.first %}{{ user }}{% endif %}"
        "{% flag 'banner' %}!{% else %}.{% endflag %}"
        "{%- else -%} - {%- endflag -%}"
        "{% endfor %}"
    )
    assert rendered(text, users=[alice, bob, alice]) == "alice.-."


def test_variable_set_in_tag_is_visible_after_it(alice: User) -> None:
    text = "{% flag 'new_checkout' %}{% set design = 'new' %}{% endflag %}{{ design }}"
    assert rendered(text, request_of(alice)) == "new"


def test_tag_does_not_read_user_if_result_does_not_depend_on_it(alice: User) -> None:
    FeatureFlag.objects.update(rollout_percent=100)
    user = SimpleLazyObject(lambda: pytest.fail("the user was read"))
    assert rendered(CHECKOUT, request_of(user)) == "new"


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
def test_tag_works_in_blocks_includes_and_macros(
    environment: type[Environment], alice: User
) -> None:
    templates = environment(loader=DictLoader(TEMPLATES), extensions=[EXTENSION], autoescape=True)
    assert templates.get_template("child").render(request=request_of(alice)) == "new, new"


def error_of(kind: type[Exception], text: str) -> str:
    with pytest.raises(kind) as error:
        rendered(text)
    return str(error.value)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "{% flag %}{% endflag %}",
            'flag needs a key and accepts a user, as in {% flag "new_checkout" %}',
        ),
        ("{% flag 'a', %}{% endflag %}", "unexpected 'end of statement block'"),
        (
            "{% flag 'a', b, c %}{% endflag %}",
            "flag accepts a key, a user, and then names with values",
        ),
    ],
)
def test_invalid_tag_is_syntax_error(text: str, message: str) -> None:
    assert error_of(TemplateSyntaxError, text) == message


def test_unclosed_tag_is_syntax_error() -> None:
    message = error_of(TemplateSyntaxError, "{% flag 'a' %}{% else %}")
    assert "'endflag'" in message


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{% flag new_checkout %}{% endflag %}", "the key of flag must be a string, not ''"),
        ("{% flag 42 %}{% endflag %}", "the key of flag must be a string, not 42"),
        ("{{ flag_enabled(checkout) }}", "the key of flag_enabled must be a string, not ''"),
        ("{{ get_value(none) }}", "the key of get_value must be a string, not None"),
    ],
)
def test_key_without_quotes_is_error(text: str, message: str) -> None:
    assert error_of(TemplateRuntimeError, text) == f"{message}; put it in quotes"


# The functions.


def test_function_uses_user_of_request_or_argument(alice: User, bob: User) -> None:
    text = "{{ flag_enabled('new_checkout') }} {{ flag_enabled('new_checkout', other) }}"
    assert rendered(text, request_of(alice), other=bob) == "True False"
    assert rendered(text, request_of(bob), other=alice) == "False True"
    assert rendered(text, request_of(alice), other=None) == "True False"
    assert rendered(text, request_of(alice)) == "True False"


def test_functions_return_defaults(alice: User) -> None:
    text = "{{ flag_enabled('missing', default=true) }} {{ get_value('missing', 7) }}"
    assert rendered(text) == "True 7"


def test_value_keeps_type_and_is_escaped(alice: User) -> None:
    KeyValueStore.objects.create(key="cities", value=["Rome", "<Oslo>"])
    text = "{{ get_value('gateway') }} {% for c in get_value('cities') %}{{ c }} {% endfor %}"
    assert rendered(text) == "stripe Rome &lt;Oslo&gt; "


def test_tag_and_functions_use_snapshot_of_request(alice: User) -> None:
    request: Any = request_of(alice)
    FlagstaffMiddleware(lambda request: HttpResponse())(request)
    assert request.flags.enabled("new_checkout") is True
    FeatureFlag.objects.update(enabled=False)
    KeyValueStore.objects.update(value="paypal")
    text = CHECKOUT + " {{ flag_enabled('new_checkout') }} {{ get_value('gateway') }}"
    assert rendered(text, request) == "new True stripe"
    assert rendered(text, request_of(alice)) == "old False paypal"


WITHOUT_OPTIONAL_PACKAGES = """
import sys
sys.modules["jinja2"] = sys.modules["rest_framework"] = None
import os
os.environ["DJANGO_SETTINGS_MODULE"] = "tests.support.settings"
import django
django.setup()
from flagstaff import context_processors, decorators, middleware, mixins, testing
print("ok")
"""


def test_package_works_without_jinja2_and_rest_framework(run_isolated: RunIsolated) -> None:
    assert run_isolated(WITHOUT_OPTIONAL_PACKAGES) == "ok\n"
