"""The template tags `flag` and `value`."""

from __future__ import annotations

from typing import Any

import pytest
from django.contrib.auth.models import AnonymousUser, User
from django.template import Context, Engine, TemplateSyntaxError
from django.test import RequestFactory
from django.utils.functional import SimpleLazyObject

from flagstaff._engine.request_flags import flags_of
from flagstaff.models import FeatureFlag, KeyValueStore

pytestmark = pytest.mark.django_db

LIBRARIES = {"flagstaff": "flagstaff.templatetags.flagstaff"}
CHECKOUT = '{% flag "new_checkout" %}new{% else %}old{% endflag %}'


def render(text: str, context: dict[str, Any] | None = None, **others: str) -> str:
    """Renders a template. It can extend or include the `others` by their names."""
    loaded = {name: "{% load flagstaff %}" + other for name, other in others.items()}
    locmem = ("django.template.loaders.locmem.Loader", loaded)
    engine = Engine(loaders=[locmem], libraries=LIBRARIES)
    start = "" if "{% extends" in text else "{% load flagstaff %}"
    return engine.from_string(start + text).render(Context(context))


def error_of(text: str, context: dict[str, Any] | None = None) -> str:
    with pytest.raises(TemplateSyntaxError) as error:
        render(text, context)
    return str(error.value)


def context_of(user: Any) -> dict[str, Any]:
    """Returns a context with a request of this user."""
    request = RequestFactory().get("/")
    request.user = user
    return {"request": request}


@pytest.fixture
def alice() -> User:
    return User.objects.create(username="alice")


@pytest.fixture
def bob() -> User:
    return User.objects.create(username="bob")


@pytest.fixture
def flag(alice: User) -> FeatureFlag:
    """A flag whose only user is alice."""
    flag = FeatureFlag.objects.create(key="new_checkout", enabled=True)
    flag.allowed_users.add(alice)
    return flag


@pytest.fixture
def for_all(flag: FeatureFlag) -> None:
    FeatureFlag.objects.update(rollout_percent=100)


# The user.


@pytest.mark.usefixtures("flag")
def test_flag_uses_user_of_request(alice: User, bob: User) -> None:
    assert render(CHECKOUT, context_of(alice)) == "new"
    assert render(CHECKOUT, context_of(bob)) == "old"
    assert render(CHECKOUT, context_of(AnonymousUser())) == "old"


@pytest.mark.usefixtures("flag")
def test_flag_without_request_uses_user_of_context(alice: User) -> None:
    assert render(CHECKOUT, {"user": alice}) == "new"


@pytest.mark.usefixtures("flag")
def test_user_of_request_overrides_user_of_context(alice: User, bob: User) -> None:
    assert render(CHECKOUT, context_of(bob) | {"user": alice}) == "old"


@pytest.mark.usefixtures("flag")
def test_flag_with_request_without_user_uses_user_of_context(alice: User) -> None:
    assert render(CHECKOUT, {"request": RequestFactory().get("/"), "user": alice}) == "new"


@pytest.mark.usefixtures("flag")
def test_user_argument_overrides_user_of_request(alice: User, bob: User) -> None:
    text = '{% flag "new_checkout" order.customer %}new{% else %}old{% endflag %}'
    assert render(text, context_of(bob) | {"order": {"customer": alice}}) == "new"


@pytest.mark.usefixtures("flag")
def test_user_argument_may_be_primary_key(alice: User) -> None:
    text = '{% flag "new_checkout" pk %}new{% else %}old{% endflag %}'
    assert render(text, {"pk": alice.pk}) == "new"
    assert render(text, {"pk": str(alice.pk)}) == "new"


@pytest.mark.usefixtures("flag")
def test_missing_user_argument_is_anonymous(alice: User) -> None:
    FeatureFlag.objects.update(rollout_percent=99)
    text = '{% flag "new_checkout" custmoer %}new{% else %}old{% endflag %}'
    assert render(text, context_of(alice)) == "old"


@pytest.mark.usefixtures("for_all")
def test_flag_that_is_on_for_all_needs_no_user() -> None:
    assert render(CHECKOUT) == "new"


@pytest.mark.usefixtures("flag")
def test_flag_without_request_and_user_is_anonymous() -> None:
    assert render(CHECKOUT) == "old"


@pytest.mark.usefixtures("for_all")
def test_user_is_not_read_if_result_does_not_depend_on_it() -> None:
    class Lazy(SimpleLazyObject):  # type: ignore[type-arg]
        """A user type without a cached classification, which must not read the user either."""

    user = Lazy(lambda: pytest.fail("the user was read"))
    assert render(CHECKOUT, context_of(user)) == "new"


@pytest.mark.usefixtures("flag")
def test_disabled_and_missing_flag_render_else(alice: User) -> None:
    FeatureFlag.objects.update(enabled=False)
    assert render(CHECKOUT, context_of(alice)) == "old"
    assert render('{% flag "missing" %}new{% else %}old{% endflag %}', context_of(alice)) == "old"


# Nesting.


@pytest.mark.usefixtures("flag")
def test_else_is_optional(alice: User, bob: User) -> None:
    text = '[{% flag "new_checkout" %}new{% endflag %}]'
    assert render(text, context_of(alice)) == "[new]"
    assert render(text, context_of(bob)) == "[]"


@pytest.mark.usefixtures("for_all")
def test_key_of_flag_may_be_variable() -> None:
    text = "{% flag key %}new{% endflag %} {% flag name|add:'checkout' %}new{% endflag %}"
    assert render(text, {"key": "new_checkout", "name": "new_"}) == "new new"


@pytest.mark.usefixtures("flag")
def test_flag_nests_in_if_for_and_flag(alice: User, bob: User) -> None:
    text = (
        "{% for user in users %}{% if user %}"
        '{% flag "new_checkout" user %}{{ user }}{% flag "other" %}!{% else %}.{% endflag %}'
        "{% else %}-{% endflag %}"
        "{% else %}?{% endif %}{% endfor %}"
    )
    assert render(text, {"users": [alice, bob, None]}) == "alice.-?"


@pytest.mark.usefixtures("flag")
def test_if_and_for_nest_in_flag(alice: User) -> None:
    text = (
        '{% flag "new_checkout" %}{% for n in "ab" %}{% if n == "b" %}{{ n }}{% else %}-'
        "{% endif %}{% endfor %}{% else %}old{% endflag %}"
    )
    assert render(text, context_of(alice)) == "-b"


BASE = (
    '{% flag "new_checkout" %}<{% block shown %}base{% endblock %}>'
    "{% else %}({% block otherwise %}base{% endblock %}){% endflag %}"
)
CHILD = (
    '{% extends "base" %}'
    "{% block shown %}{{ block.super }}, child{% endblock %}"
    "{% block otherwise %}{{ block.super }}, child{% endblock %}"
)


@pytest.mark.usefixtures("flag")
def test_block_in_flag_can_be_overridden(alice: User, bob: User) -> None:
    assert render(CHILD, context_of(alice), base=BASE) == "<base, child>"
    assert render(CHILD, context_of(bob), base=BASE) == "(base, child)"


@pytest.mark.usefixtures("flag")
def test_flag_works_in_block_and_include(alice: User) -> None:
    base = "{% block content %}{% endblock %}"
    child = (
        '{% extends "base" %}{% load flagstaff %}'
        '{% block content %}{% flag "new_checkout" %}{% include "part" %}{% endflag %}'
        "{% endblock %}"
    )
    assert render(child, context_of(alice), base=base, part=CHECKOUT) == "new"


# Context.


@pytest.fixture
def german(db: None) -> None:
    """A flag for those in Germany."""
    rules = [{"conditions": [{"attribute": "country", "operator": "in", "values": ["DE"]}]}]
    FeatureFlag.objects.create(key="new_checkout", enabled=True, rules=rules)


@pytest.mark.usefixtures("german")
@pytest.mark.parametrize("arguments", ["", "customer ", "missing "])
def test_names_with_values_are_the_context_of_the_flag(alice: User, arguments: str) -> None:
    text = (
        f'{{% flag "new_checkout" {arguments}country=country %}}new{{% else %}}old{{% endflag %}}'
    )
    assert render(text, {"country": "DE", "customer": alice}) == "new"
    assert render(text, {"country": "FR", "customer": alice}) == "old"
    assert render(text, {"customer": alice}) == "old"
    assert render(text, {**context_of(alice), "country": "DE"}) == "new"


@pytest.mark.usefixtures("german")
def test_flag_uses_context_of_request(alice: User) -> None:
    context = context_of(alice)
    assert render(CHECKOUT, context) == "old"
    flags_of(context["request"]).context["country"] = "DE"
    assert render(CHECKOUT, context) == "new"


# Errors.

USAGE = (
    "flag needs a key, and accepts a user and names with values, as in "
    '{% flag "new_checkout" customer country="DE" %}'
)


@pytest.mark.parametrize("arguments", ["", '"a" user "b"', '"a" for user', '"a" country="DE" user'])
def test_flag_with_wrong_number_of_arguments_is_error(arguments: str) -> None:
    assert error_of("{% flag " + arguments + " %}{% endflag %}") == USAGE


@pytest.mark.parametrize("name", ["user", "context"])
def test_names_of_arguments_are_no_names_of_the_context(name: str) -> None:
    text = f'{{% flag "new_checkout" {name}=customer %}}{{% endflag %}}'
    assert error_of(text).startswith(f"flag has no argument '{name}': write the user after the key")


def test_template_variable_that_is_no_request_is_ignored(german: None) -> None:
    text = '{% flag "new_checkout" country="DE" %}new{% endflag %}'
    assert render(text, {"request": "a text"}) == "new"


def test_unclosed_flag_is_error() -> None:
    assert error_of('{% flag "new_checkout" %}new') == (
        "Unclosed tag on line 1: 'flag'. Looking for one of: else, endflag."
    )
    assert error_of('{% flag "new_checkout" %}new{% else %}old') == (
        "Unclosed tag on line 1: 'flag'. Looking for one of: endflag."
    )


@pytest.mark.parametrize(
    ("key", "given"), [("new_checkout", "None"), ("number", "7"), ("nothing", "''")]
)
def test_flag_key_without_quotes_is_error(key: str, given: str) -> None:
    message = error_of("{% flag " + key + " %}{% endflag %}", {"number": 7, "nothing": ""})
    assert message == f"the key of {{% flag %}} must be a string, not {given}; put it in quotes"


def test_value_key_without_quotes_is_error() -> None:
    message = "the key of {% value %} must be a string, not ''; put it in quotes"
    assert error_of("{% value payment_gateway %}") == message


def test_user_of_wrong_type_raises_type_error() -> None:
    FeatureFlag.objects.create(key="new_checkout", enabled=True, rollout_percent=50)
    with pytest.raises(TypeError, match="float"):
        render('{% flag "new_checkout" 1.5 %}{% endflag %}')


# Values.


def test_value_is_rendered() -> None:
    KeyValueStore.objects.create(key="payment_gateway", value="stripe")
    assert render('{% value "payment_gateway" %}') == "stripe"


def test_value_is_escaped() -> None:
    KeyValueStore.objects.create(key="greeting", value="<b>")
    assert render('{% value "greeting" %}') == "&lt;b&gt;"


def test_value_can_be_stored_in_variable() -> None:
    KeyValueStore.objects.create(key="limits", value={"burst": [1, 2]})
    assert render('[{% value "limits" as limits %}]{{ limits.burst.1 }}') == "[]2"


def test_key_of_value_may_be_variable() -> None:
    KeyValueStore.objects.create(key="page_size", value=25)
    assert render("{% value name %}", {"name": "page_size"}) == "25"


@pytest.mark.parametrize("default", ["default=20", "20"])
def test_missing_value_renders_default(default: str) -> None:
    assert render('{% value "page_size" ' + default + " %}") == "20"
    assert render('{% value "page_size" ' + default + " as size %}{{ size|add:1 }}") == "21"


def test_existing_value_overrides_default() -> None:
    KeyValueStore.objects.create(key="page_size", value=0)
    assert render('{% value "page_size" default=20 %}') == "0"


def test_missing_value_without_default_is_none() -> None:
    text = '{% value "page_size" as size %}{% if size is None %}none{% endif %}'
    assert render(text) == "none"
