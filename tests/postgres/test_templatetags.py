"""The tags of `{% load flagstaff %}`: flag … else … endflag, and value."""

from __future__ import annotations

from typing import Any

import pytest
from django.contrib.auth.models import AnonymousUser, User
from django.template import Context, Engine, TemplateSyntaxError
from django.test import RequestFactory
from django.utils.functional import SimpleLazyObject

from flagstaff.models import FeatureFlag, KeyValueStore

pytestmark = pytest.mark.django_db

LIBRARIES = {"flagstaff": "flagstaff.templatetags.flagstaff"}
CHECKOUT = '{% flag "new_checkout" %}new{% else %}old{% endflag %}'


def render(text: str, context: dict[str, Any] | None = None, **others: str) -> str:
    """What a template shows, to which the `others` are known by their names."""
    loaded = {name: "{% load flagstaff %}" + other for name, other in others.items()}
    locmem = ("django.template.loaders.locmem.Loader", loaded)
    engine = Engine(loaders=[locmem], libraries=LIBRARIES)
    start = "" if "{% extends" in text else "{% load flagstaff %}"
    return engine.from_string(start + text).render(Context(context))


def refusal(text: str, context: dict[str, Any] | None = None) -> str:
    with pytest.raises(TemplateSyntaxError) as error:
        render(text, context)
    return str(error.value)


def asked_by(user: Any) -> dict[str, Any]:
    """The context of a page that this user has asked for."""
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
    """On for alice, and for nobody else."""
    flag = FeatureFlag.objects.create(key="new_checkout", enabled=True)
    flag.allowed_users.add(alice)
    return flag


@pytest.fixture
def for_all(flag: FeatureFlag) -> None:
    FeatureFlag.objects.update(rollout_percent=100)


# Who asks.


@pytest.mark.usefixtures("flag")
def test_flag_asks_for_the_user_of_the_request(alice: User, bob: User) -> None:
    assert render(CHECKOUT, asked_by(alice)) == "new"
    assert render(CHECKOUT, asked_by(bob)) == "old"
    assert render(CHECKOUT, asked_by(AnonymousUser())) == "old"


@pytest.mark.usefixtures("flag")
def test_flag_asks_for_the_user_of_the_context_where_there_is_no_request(alice: User) -> None:
    assert render(CHECKOUT, {"user": alice}) == "new"


@pytest.mark.usefixtures("flag")
def test_user_of_the_request_goes_before_the_user_of_the_context(alice: User, bob: User) -> None:
    assert render(CHECKOUT, asked_by(bob) | {"user": alice}) == "old"


@pytest.mark.usefixtures("flag")
def test_flag_asks_for_the_user_of_the_context_where_the_request_has_none(alice: User) -> None:
    assert render(CHECKOUT, {"request": RequestFactory().get("/"), "user": alice}) == "new"


@pytest.mark.usefixtures("flag")
def test_user_after_the_key_goes_before_all_others(alice: User, bob: User) -> None:
    text = '{% flag "new_checkout" order.customer %}new{% else %}old{% endflag %}'
    assert render(text, asked_by(bob) | {"order": {"customer": alice}}) == "new"


@pytest.mark.usefixtures("flag")
def test_user_after_the_key_can_be_a_primary_key(alice: User) -> None:
    text = '{% flag "new_checkout" pk %}new{% else %}old{% endflag %}'
    assert render(text, {"pk": alice.pk}) == "new"
    assert render(text, {"pk": str(alice.pk)}) == "new"


@pytest.mark.usefixtures("flag")
def test_user_after_the_key_that_is_not_there_is_nobody(alice: User) -> None:
    FeatureFlag.objects.update(rollout_percent=99)
    text = '{% flag "new_checkout" custmoer %}new{% else %}old{% endflag %}'
    assert render(text, asked_by(alice)) == "old"


@pytest.mark.usefixtures("for_all")
def test_flag_needs_no_user_where_it_is_on_for_all() -> None:
    assert render(CHECKOUT) == "new"


@pytest.mark.usefixtures("flag")
def test_nobody_is_asked_for_where_there_is_neither_request_nor_user() -> None:
    assert render(CHECKOUT) == "old"


@pytest.mark.usefixtures("for_all")
def test_user_is_not_read_where_the_answer_is_the_same_for_all() -> None:
    class Lazy(SimpleLazyObject):  # type: ignore[type-arg]
        """A type that no question has met yet: to judge it is no reason to read it either."""

    user = Lazy(lambda: pytest.fail("the user was read"))
    assert render(CHECKOUT, asked_by(user)) == "new"


@pytest.mark.usefixtures("flag")
def test_flag_that_is_off_and_flag_that_is_missing_show_what_is_otherwise(alice: User) -> None:
    FeatureFlag.objects.update(enabled=False)
    assert render(CHECKOUT, asked_by(alice)) == "old"
    assert render('{% flag "missing" %}new{% else %}old{% endflag %}', asked_by(alice)) == "old"


# What stands around and within.


@pytest.mark.usefixtures("flag")
def test_else_may_be_left_out(alice: User, bob: User) -> None:
    text = '[{% flag "new_checkout" %}new{% endflag %}]'
    assert render(text, asked_by(alice)) == "[new]"
    assert render(text, asked_by(bob)) == "[]"


@pytest.mark.usefixtures("for_all")
def test_key_can_be_a_variable() -> None:
    text = "{% flag key %}new{% endflag %} {% flag name|add:'checkout' %}new{% endflag %}"
    assert render(text, {"key": "new_checkout", "name": "new_"}) == "new new"


@pytest.mark.usefixtures("flag")
def test_flag_stands_within_if_and_for_and_other_flags(alice: User, bob: User) -> None:
    text = (
        "{% for user in users %}{% if user %}"
        '{% flag "new_checkout" user %}{{ user }}{% flag "other" %}!{% else %}.{% endflag %}'
        "{% else %}-{% endflag %}"
        "{% else %}?{% endif %}{% endfor %}"
    )
    assert render(text, {"users": [alice, bob, None]}) == "alice.-?"


@pytest.mark.usefixtures("flag")
def test_if_and_for_stand_within_flag(alice: User) -> None:
    text = (
        '{% flag "new_checkout" %}{% for n in "ab" %}{% if n == "b" %}{{ n }}{% else %}-'
        "{% endif %}{% endfor %}{% else %}old{% endflag %}"
    )
    assert render(text, asked_by(alice)) == "-b"


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
def test_block_within_flag_can_be_overridden(alice: User, bob: User) -> None:
    assert render(CHILD, asked_by(alice), base=BASE) == "<base, child>"
    assert render(CHILD, asked_by(bob), base=BASE) == "(base, child)"


@pytest.mark.usefixtures("flag")
def test_flag_stands_within_a_block_and_an_included_template(alice: User) -> None:
    base = "{% block content %}{% endblock %}"
    child = (
        '{% extends "base" %}{% load flagstaff %}'
        '{% block content %}{% flag "new_checkout" %}{% include "part" %}{% endflag %}'
        "{% endblock %}"
    )
    assert render(child, asked_by(alice), base=base, part=CHECKOUT) == "new"


# What is refused.

SHAPE = 'flag takes the key of a flag and perhaps a user, as in {% flag "new_checkout" %}'


@pytest.mark.parametrize("arguments", ["", '"a" user "b"', '"a" for user'])
def test_flag_with_another_number_of_arguments_is_refused(arguments: str) -> None:
    assert refusal("{% flag " + arguments + " %}{% endflag %}") == SHAPE


def test_flag_without_its_end_is_refused() -> None:
    assert refusal('{% flag "new_checkout" %}new') == (
        "Unclosed tag on line 1: 'flag'. Looking for one of: else, endflag."
    )
    assert refusal('{% flag "new_checkout" %}new{% else %}old') == (
        "Unclosed tag on line 1: 'flag'. Looking for one of: endflag."
    )


@pytest.mark.parametrize(
    ("key", "given"), [("new_checkout", "None"), ("number", "7"), ("nothing", "''")]
)
def test_flag_without_the_quotes_around_its_key_is_refused(key: str, given: str) -> None:
    told = refusal("{% flag " + key + " %}{% endflag %}", {"number": 7, "nothing": ""})
    assert told == f"the key of {{% flag %}} must be a text, not {given}; put it in quotes"


def test_value_without_the_quotes_around_its_key_is_refused() -> None:
    told = "the key of {% value %} must be a text, not ''; put it in quotes"
    assert refusal("{% value payment_gateway %}") == told


def test_user_of_a_wrong_type_is_refused() -> None:
    FeatureFlag.objects.create(key="new_checkout", enabled=True, rollout_percent=50)
    with pytest.raises(TypeError, match="float"):
        render('{% flag "new_checkout" 1.5 %}{% endflag %}')


# Values.


def test_value_is_shown() -> None:
    KeyValueStore.objects.create(key="payment_gateway", value="stripe")
    assert render('{% value "payment_gateway" %}') == "stripe"


def test_value_is_escaped() -> None:
    KeyValueStore.objects.create(key="greeting", value="<b>")
    assert render('{% value "greeting" %}') == "&lt;b&gt;"


def test_value_can_be_kept_under_a_name() -> None:
    KeyValueStore.objects.create(key="limits", value={"burst": [1, 2]})
    assert render('[{% value "limits" as limits %}]{{ limits.burst.1 }}') == "[]2"


def test_key_of_a_value_can_be_a_variable() -> None:
    KeyValueStore.objects.create(key="page_size", value=25)
    assert render("{% value name %}", {"name": "page_size"}) == "25"


@pytest.mark.parametrize("default", ["default=20", "20"])
def test_value_that_is_missing_gives_the_default(default: str) -> None:
    assert render('{% value "page_size" ' + default + " %}") == "20"
    assert render('{% value "page_size" ' + default + " as size %}{{ size|add:1 }}") == "21"


def test_value_that_is_there_goes_before_the_default() -> None:
    KeyValueStore.objects.create(key="page_size", value=0)
    assert render('{% value "page_size" default=20 %}') == "0"


def test_value_that_is_missing_without_a_default_is_none() -> None:
    text = '{% value "page_size" as size %}{% if size is None %}none{% endif %}'
    assert render(text) == "none"
