"""The tags of Django's template language, and the Jinja2 extension."""

import re
from typing import Any

import pytest
from django.contrib.auth.models import AnonymousUser, User
from django.template import Context, Engine, Library, TemplateSyntaxError
from django.template.backends.django import DjangoTemplates
from django.template.backends.jinja2 import Jinja2
from django.utils.functional import SimpleLazyObject
from jinja2 import DictLoader, Environment, TemplateRuntimeError
from jinja2 import TemplateSyntaxError as Jinja2SyntaxError
from jinja2.sandbox import SandboxedEnvironment

from flagstaff import Flag, _log, experiments
from flagstaff._request.flags import flags_of
from flagstaff.models import FeatureFlag, KeyValueStore
from tests.support.conditions import condition
from tests.support.shop import Shop
from tests.support.templates import EXTENSION, OPTIONS, TAGS, Render, in_django, in_jinja2, renderer
from tests.support.views import in_request, request_of, with_flags

ALICE, BOB = User(pk=1, username="alice"), User(pk=2, username="bob")
CHECKOUT = '{% flag "new_checkout" %}new{% else %}old{% endflag %}'


@pytest.fixture(autouse=True)
def rows(shop: Shop) -> None:
    """A flag for alice, a flag for Germany, and a value."""
    shop.flag(rollout_percent=0)
    shop.flag("express_delivery")
    shop.value()


@pytest.fixture(params=OPTIONS)
def render(request: pytest.FixtureRequest) -> Render:
    """Renders a template in each of the two languages."""
    return renderer(request.param)


@pytest.fixture
def logged_in_debug(settings: Any, caplog: pytest.LogCaptureFixture) -> Any:
    """The log of a process with DEBUG that has logged nothing yet."""
    settings.DEBUG = True
    _log.after_fork()
    return caplog


def test_flag_uses_user_of_request_and_else_that_of_the_context(render: Render) -> None:
    assert render(CHECKOUT, request_of(ALICE)) == "new"
    assert render(CHECKOUT, request_of(BOB), user=ALICE) == "old"
    assert render(CHECKOUT, request_of(AnonymousUser())) == "old"
    assert render(CHECKOUT, user=ALICE) == "new"
    assert render(CHECKOUT, request_of(None), user=ALICE) == "new"
    assert render(CHECKOUT) == "old"


def test_user_argument_overrides_user_of_request(render: Render) -> None:
    text = '{% flag "new_checkout" order.customer %}new{% else %}old{% endflag %}'
    for customer in (ALICE, ALICE.pk, str(ALICE.pk)):
        assert render(text, request_of(BOB), order={"customer": customer}) == "new"
    FeatureFlag.objects.update(rollout_percent=99)
    # None and an undefined name are anonymous.
    assert render(text, request_of(ALICE), order={"customer": None}) == "old"
    assert render(text, request_of(ALICE), order={}) == "old"


def test_user_is_not_needed_nor_read_if_result_does_not_depend_on_it(render: Render) -> None:
    class Lazy(SimpleLazyObject):  # type: ignore[type-arg]
        """A user type without a cached classification, which must not read the user either."""

    FeatureFlag.objects.update(rollout_percent=100)
    user = Lazy(lambda: pytest.fail("the user was read"))
    assert render(CHECKOUT, request_of(user)) == "new"
    assert render(CHECKOUT) == "new"


def test_disabled_and_missing_flag_render_else_which_is_optional(render: Render) -> None:
    text = '[{% flag "new_checkout" %}new{% endflag %}]'
    assert render(text, request_of(ALICE)) == "[new]"
    assert render(text, request_of(BOB)) == "[]"
    assert render('{% flag "missing" %}new{% else %}old{% endflag %}', request_of(ALICE)) == "old"
    FeatureFlag.objects.update(enabled=False)
    assert render(CHECKOUT, request_of(ALICE)) == "old"


def test_flag_nests_in_other_tags_and_they_in_it(render: Render) -> None:
    text = (
        "{% for user in users %}{% if user %}"
        '{% flag "new_checkout" user %}{{ user }}{% flag "other" %}!{% else %}.{% endflag %}'
        '{% for n in "ab" %}{% if n == "b" %}{{ n }}{% else %}+{% endif %}{% endfor %}'
        "{% else %}-{% endflag %}"
        "{% else %}?{% endif %}{% endfor %}"
    )
    assert render(text, users=[ALICE, BOB, None]) == "alice.+b-?"


@pytest.mark.parametrize("arguments", ["", "customer ", "missing "])
def test_names_with_values_are_the_context_of_the_flag(render: Render, arguments: str) -> None:
    tag = f'{{% flag "express_delivery" {arguments}country=order.country %}}'
    text = tag + "new{% else %}old{% endflag %}"
    for request in (None, request_of(AnonymousUser()), request_of(ALICE)):
        assert render(text, request, order={"country": "DE"}, customer=ALICE) == "new"
        assert render(text, request, order={"country": "FR"}, customer=ALICE) == "old"
        assert render(text, request, order={}, customer=ALICE) == "old"


def test_flag_uses_context_of_request(render: Render) -> None:
    text, request = '{% flag "express_delivery" %}new{% else %}old{% endflag %}', request_of(ALICE)
    assert render(text, request) == "old"
    flags_of(request).context["country"] = "DE"
    assert render(text, request) == "new"


register = Library()


@register.inclusion_tag("part")
def part() -> dict[str, Any]:
    return {}


FILES = {
    "part": CHECKOUT,
    "macros": "{% macro card() %}" + CHECKOUT + "{% endmacro %}",
    "base": (
        '{% flag "new_checkout" %}<{% block shown %}base{% endblock %}>'
        "{% else %}({% block otherwise %}base{% endblock %}){% endflag %}"
    ),
    "child": (
        '{% extends "base" %}{% block shown %}{{ block.super }}, child{% endblock %}'
        "{% block otherwise %}{{ block.super }}, child{% endblock %}"
    ),
    "including": (
        '{% extends "base" %}{% block shown %}'
        '{% flag "new_checkout" %}{% include "part" %}{% endflag %}{% endblock %}'
    ),
}
VARIANT = '{% variant "button" default="" as button %}{% if button %}new{% else %}old{% endif %}'
WITHOUT_REQUEST = {
    "include only": (DjangoTemplates, '{% include "part" only %}'),
    "include only with another user": (DjangoTemplates, '{% include "part" with user=bob only %}'),
    "inclusion tag": (DjangoTemplates, "{% part %}"),
    "error page": (DjangoTemplates, CHECKOUT),
    "macro": (Jinja2, '{% from "macros" import card %}{{ card() }}'),
    "include without context": (Jinja2, '{% include "part" without context %}'),
    "function": (Jinja2, "{{ 'new' if flag_enabled('new_checkout') else 'old' }}"),
    "value": (DjangoTemplates, '{% value "payment_gateway" %}'),
    "value of jinja2": (Jinja2, "{{ get_value('payment_gateway') }}"),
    "variant": (DjangoTemplates, VARIANT),
    "variant of jinja2": (Jinja2, "{{ 'new' if get_variant('button') else 'old' }}"),
}


def render_part(kind: Any, text: str, **context: Any) -> str:
    """Renders a template that may include files, without `request` unless it is given."""
    if kind is DjangoTemplates:
        loader = ("django.template.loaders.locmem.Loader", FILES)
        engine = Engine(loaders=[loader], builtins=[TAGS, __name__])
        return engine.from_string(text).render(Context(context))
    environment = Environment(loader=DictLoader(FILES), extensions=[EXTENSION])
    return environment.from_string(text).render(context)


@pytest.mark.parametrize(("kind", "text"), WITHOUT_REQUEST.values(), ids=WITHOUT_REQUEST)
def test_template_without_request_evaluates_for_the_request_that_is_handled(
    kind: Any, text: str, logged_in_debug: Any
) -> None:
    rules = [{"conditions": [condition("is_authenticated", "in", True)], "value": "new"}]
    KeyValueStore.objects.update(value="old", rules=rules)
    experiments.create("button")
    experiments.start("button")

    def page(_request: Any) -> str:
        return render_part(kind, text, bob=BOB)

    assert in_request(request_of(ALICE), page) == "new"
    assert logged_in_debug.messages == []
    assert render_part(kind, text, bob=BOB) == "old"


def test_request_and_user_of_a_template_precede_the_request_that_is_handled(render: Render) -> None:
    other = request_of(BOB)
    named = '{% flag "new_checkout" ' + "customer %}new{% else %}old{% endflag %}"
    assert in_request(request_of(ALICE), lambda _: render(CHECKOUT, other)) == "old"
    assert in_request(request_of(ALICE), lambda _: render(named, customer=BOB)) == "old"
    assert in_request(request_of(ALICE), lambda _: render(named, customer=None)) == "old"


@pytest.mark.parametrize(
    ("context", "logged"), [({}, 1), ({"user": None}, 0), ({"request": request_of(None)}, 0)]
)
def test_tag_without_request_and_user_is_logged_once_per_template_in_debug(
    render: Render, context: dict[str, Any], logged: int, logged_in_debug: Any, settings: Any
) -> None:
    text = '{% flag "a" %}{% endflag %}{% flag "b" %}{% endflag %}'
    settings.DEBUG = False
    render(text, **context)
    assert logged_in_debug.messages == []
    settings.DEBUG = True
    render(text + text, **context)
    assert len(logged_in_debug.messages) == logged
    assert all("'flag' in the template" in message for message in logged_in_debug.messages)


@pytest.mark.parametrize(
    ("file", "user", "rendered"),
    [
        ("child", ALICE, "<base, child>"),
        ("child", BOB, "(base, child)"),
        ("including", ALICE, "<new>"),
    ],
)
def test_flag_contains_blocks_and_works_in_block_and_include(
    file: str, user: User, rendered: str
) -> None:
    text = f'{{% include "{file}" %}}'
    assert render_part(DjangoTemplates, text, request=request_of(user)) == rendered


def test_key_of_flag_may_be_variable() -> None:
    FeatureFlag.objects.update(rollout_percent=100)
    text = "{% flag key %}new{% endflag %} {% flag name|add:'checkout' %}new{% endflag %}"
    assert in_django(text, key="new_checkout", name="new_") == "new new"


# Templates, and how their messages begin.
INVALID = {
    "{% flag %}{% endflag %}": "flag needs a key, and accepts a user and names with values, as in",
    '{% flag "a" user "b" %}{% endflag %}': "flag needs a key, and accepts a user and names",
    '{% flag "a" for user %}{% endflag %}': "flag needs a key, and accepts a user and names",
    '{% flag "a" country="DE" user %}{% endflag %}': "flag needs a key, and accepts a user",
    '{% flag "a" user=b %}{% endflag %}': "flag has no argument 'user': write the user after the",
    '{% flag "a" context=b %}{% endflag %}': "flag has no argument 'context': write the user",
    '{% flag "a" %}new': "Unclosed tag on line 1: 'flag'. Looking for one of: else, endflag.",
    '{% flag "a" %}new{% else %}old': "Unclosed tag on line 1: 'flag'. Looking for one of: endflag",
    "{% flag new_checkout %}{% endflag %}": "the key of {% flag %} must be a string, not None; put",
    "{% flag number %}{% endflag %}": "the key of {% flag %} must be a string, not 7; put it in",
    "{% flag nothing %}{% endflag %}": "the key of {% flag %} must be a string, not ''; put it in",
    "{% value payment_gateway %}": "the key of {% value %} must be a string, not ''; put it in",
}


@pytest.mark.parametrize(("text", "message"), INVALID.items())
def test_invalid_tag_is_error(text: str, message: str) -> None:
    with pytest.raises(TemplateSyntaxError, match=f"^{re.escape(message)}"):
        in_django(text, number=7, nothing="")


def test_template_variable_that_is_no_request_is_ignored() -> None:
    text = '{% flag "express_delivery" country="DE" %}new{% endflag %}'
    assert in_django(text, "a text") == "new"


def test_user_of_wrong_type_raises_type_error() -> None:
    FeatureFlag.objects.update(rollout_percent=50)
    with pytest.raises(TypeError, match="float"):
        in_django('{% flag "new_checkout" 1.5 %}{% endflag %}')


def test_value_is_rendered_escaped_or_stored_in_a_variable() -> None:
    for key, value in {"greeting": "<b>", "zero": 0}.items():
        KeyValueStore.objects.create(key=key, value=value)
    KeyValueStore.objects.create(key="limits", value={"burst": [1, 2]})
    assert in_django('{% value "payment_gateway" %}') == "stripe"
    assert in_django('{% value "greeting" %}') == "&lt;b&gt;"
    assert in_django('[{% value "limits" as limits %}]{{ limits.burst.1 }}') == "[]2"
    assert in_django("{% value name %}", name="payment_gateway") == "stripe"
    assert in_django('{% value "zero" default=20 %}') == "0"


@pytest.mark.parametrize("default", ["default=20", "20"])
def test_missing_value_renders_default_or_is_none(default: str) -> None:
    assert in_django('{% value "page_size" ' + default + " %}") == "20"
    assert in_django('{% value "page_size" ' + default + " as size %}{{ size|add:1 }}") == "21"
    text = '{% value "page_size" as size %}{% if size is None %}none{% endif %}'
    assert in_django(text) == "none"


@pytest.mark.parametrize("tag", ['value "missing"', 'variant "missing"', 'value "missing" None'])
def test_missing_value_or_variant_renders_nothing_as_a_missing_variable(tag: str) -> None:
    assert in_django("[{% " + tag + " %}]") == "[]"
    tags = {"flagstaff": "flagstaff.templatetags.flagstaff"}
    text = "{% load flagstaff %}[{% " + tag + " %}]"
    for invalid, shown in {"?": "[?]", "<%s>": "[&lt;missing&gt;]"}.items():
        engine = Engine(string_if_invalid=invalid, libraries=tags)
        assert engine.from_string(text).render(Context()) == shown


def test_tag_of_jinja2_accepts_commas_expressions_and_statements() -> None:
    for key in ("'new_' ~ name, user", "keys[0]|lower"):
        text = f"{{% flag {key} %}}new{{% endflag %}}"
        assert in_jinja2(text, user=ALICE, name="checkout", keys=["NEW_CHECKOUT"]) == "new"
    text = "{% flag 'express_delivery', user, country='DE' %}{% endflag %}"
    assert in_jinja2(f"[{text}]", user=ALICE) == "[]"
    text = "{% flag 'new_checkout', user -%} {{ loop.index }} {%- endflag %}"
    text = f"{{% for user in users -%}} {text} {{%- endfor %}}"
    assert in_jinja2(text, users=[ALICE, None, ALICE]) == "13"
    # A variable that is set in the tag is visible after it.
    text = "{% flag 'new_checkout' %}{% set design = 'new' %}{% endflag %}{{ design }}"
    assert in_jinja2(text, user=ALICE) == "new"


TEMPLATES = {
    "base": "{% block body %}{% endblock %}",
    "child": (
        '{% from "macros" import card with context %}{% extends "base" %}'
        '{% block body %}{% include "part" %}{{ card() }}{% endblock %}'
    ),
    "part": CHECKOUT,
    "macros": "{% macro card() %}, " + CHECKOUT + "{% endmacro %}",
}


@pytest.mark.parametrize("environment", [Environment, SandboxedEnvironment])
def test_tag_works_in_blocks_includes_and_macros(environment: type[Environment]) -> None:
    templates = environment(loader=DictLoader(TEMPLATES), extensions=[EXTENSION], autoescape=True)
    assert templates.get_template("child").render(request=request_of(ALICE)) == "new, new"


INVALID_IN_JINJA2 = {
    "{% flag %}{% endflag %}": "flag needs a key and accepts a user, as in {% flag ",
    "{% flag 'a', %}{% endflag %}": "unexpected 'end of statement block'",
    "{% flag 'a', b, c %}{% endflag %}": "flag accepts a key, a user, and then names with values",
    "{% flag 'a', country='DE', b %}{% endflag %}": "flag accepts a key, a user, and then names",
    "{% flag 'a', user=b %}{% endflag %}": "flag has no argument 'user'",
    "{% flag 'a', context=b %}{% endflag %}": "flag has no argument 'context'",
    "{% flag 'a' %}{% else %}": "'endflag'",
    "{% flag new_checkout %}{% endflag %}": "the key of flag must be a string, not ''; put it in",
    "{% flag 42 %}{% endflag %}": "the key of flag must be a string, not 42; put it in quotes",
    "{{ flag_enabled(checkout) }}": "the key of flag_enabled must be a string, not ''; put it in",
    "{{ get_value(none) }}": "the key of get_value must be a string, not None; put it in quotes",
}


@pytest.mark.parametrize(("text", "message"), INVALID_IN_JINJA2.items())
def test_invalid_tag_or_function_is_error_in_jinja2(text: str, message: str) -> None:
    with pytest.raises((Jinja2SyntaxError, TemplateRuntimeError), match=re.escape(message)):
        in_jinja2(text)


def test_function_uses_user_of_request_or_argument_and_a_context() -> None:
    text = "{{ flag_enabled('new_checkout') }} {{ flag_enabled('new_checkout', other) }}"
    assert in_jinja2(text, request_of(ALICE), other=BOB) == "True False"
    assert in_jinja2(text, request_of(BOB), other=ALICE) == "False True"
    assert in_jinja2(text, request_of(ALICE), other=None) == "True False"
    assert in_jinja2(text, request_of(ALICE)) == "True False"
    text = "{{ flag_enabled('express_delivery', context={'country': country}) }}"
    assert (in_jinja2(text, country="DE"), in_jinja2(text, country="FR")) == ("True", "False")
    with pytest.raises(TypeError, match="context must be a mapping"):
        in_jinja2("{{ flag_enabled('express_delivery', context=['DE']) }}")


def test_functions_return_values_of_any_type_and_defaults() -> None:
    KeyValueStore.objects.create(key="cities", value=["Rome", "<Oslo>"])
    text = (
        "{{ get_value('payment_gateway') }} {% for c in get_value('cities') %}{{ c }} {% endfor %}"
    )
    assert in_jinja2(text) == "stripe Rome &lt;Oslo&gt; "
    text = "{{ flag_enabled('missing', default=true) }} {{ get_value('missing', 7) }}"
    assert in_jinja2(text) == "True 7"


def test_tag_and_functions_use_snapshot_of_request() -> None:
    request = with_flags(request_of(ALICE))
    assert request.flags.enabled("new_checkout") is True
    FeatureFlag.objects.update(enabled=False)
    KeyValueStore.objects.update(value="paypal")
    text = CHECKOUT + " {{ flag_enabled('new_checkout') }} {{ get_value('payment_gateway') }}"
    assert in_jinja2(text, request) == "new True stripe"
    assert in_jinja2(text, request_of(ALICE)) == "old False paypal"


def test_tag_takes_a_declared_flag_from_a_variable(render: Render) -> None:
    text, key = "{% flag key %}new{% else %}old{% endflag %}", Flag("search_v3")
    assert render(text, key=key) == "old"
    FeatureFlag.objects.create(key="search_v3", enabled=True, rollout_percent=100)
    assert render(text, key=key) == "new"
