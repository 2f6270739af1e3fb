"""The search for keys in templates of Django and Jinja2."""

from __future__ import annotations

from pathlib import Path

import pytest

from flagstaff.cleanup.references import search
from tests.support.references import Found, write_project

LOAD = "{% load flagstaff %}"


def found(root: Path, files: dict[str, str]) -> list[Found]:
    found = search([write_project(root, files)])
    return [(str(one.kind), one.key or one.pattern) for one in found]


@pytest.mark.parametrize(
    "text",
    [
        LOAD + '{% flag "a" %}x{% endflag %}',
        LOAD + "{% flag 'a' customer country=\"DE\" %}x{% else %}y{% endflag %}",
        "{% load i18n flagstaff %}{% value 'a' as gateway %}",
        "{% load flag from flagstaff %}{% flag 'a' %}x{% endflag %}",
        LOAD + "{% unknown tag %}{% flag 'a' %}",
        "{{ request.flags.a }}",
        "{% if not request.flags.a and cart %}x{% endif %}",
        "{% with on=request.flags.a %}x{% endwith %}",
        "{{ request.flags.a|yesno:'request.flags.b,no' }}",
        LOAD + "{% partialdef card inline %}{% flag 'a' %}x{% endflag %}{% endpartialdef %}",
        "{% include 'card.html' with on=request.flags.a only %}",
        "{% blocktranslate with on=request.flags.a %}{{ on }}{% endblocktranslate %}",
        "{% querystring new=request.flags.a %}",
        "{% cache 60 card request.flags.a %}x{% endcache %}",
    ],
)
def test_key_in_a_template_is_found(tmp_path: Path, text: str) -> None:
    assert found(tmp_path, {"page.html": text}) == [("template", "a")]


@pytest.mark.parametrize(
    "text",
    [
        '{# {% flag "a" %} #}',
        LOAD + '{% comment %}{% flag "a" %}{% endcomment %}',
        LOAD + '{% verbatim %}{% flag "a" %}{% endverbatim %}',
        '{% load waffle_tags %}{% flag "a" %}x{% endflag %}',
        LOAD + '{% load waffle_tags %}{% flag "a" %}x{% endflag %}',
        "{{ flags.a }}",
        "<p>request.flags.a</p>",
    ],
)
def test_text_of_others_is_not_a_reference(tmp_path: Path, text: str) -> None:
    assert found(tmp_path, {"page.html": text}) == []


def test_variable_as_key_is_dynamic(tmp_path: Path) -> None:
    text = LOAD + "{% flag key %}x{% endflag %}"
    assert found(tmp_path, {"page.html": text}) == [("dynamic", "*")]


@pytest.mark.parametrize(
    ("setting", "text"),
    [
        ('["flagstaff.context_processors.flags"]', "{% if flags.a and cart %}x{% endif %}"),
        ('{"builtins": ["flagstaff.templatetags.flagstaff"]}', '{% flag "a" %}x{% endflag %}'),
    ],
)
def test_key_is_found_without_load_as_the_settings_say(
    tmp_path: Path, setting: str, text: str
) -> None:
    files = {"settings.py": f"OPTIONS = {setting}", "page.html": text}
    assert found(tmp_path, files) == [("template", "a")]


@pytest.mark.parametrize(
    "text",
    [
        '{% flag "a", customer %}x{% endflag %}',
        "{% if flag_enabled('a', user) and\n  cart %}x{% endif %}",
        "{{ request.flags.enabled('a') }}",
        "{{ request.flags['a'] }}",
        "{{- get_value('a') -}}",
        "{% if request.flags.a %}x{% endif %}",
        "{% if flag_enabled(key='a') %}x{% endif %}",
    ],
)
def test_key_in_a_jinja_template_is_found(tmp_path: Path, text: str) -> None:
    assert found(tmp_path, {"jinja2/page.html": text}) == [("template", "a")]


def test_place_in_a_template_has_line_and_column(tmp_path: Path) -> None:
    text = f"{LOAD}\n<p>{{% if request.flags.a %}}x{{% endif %}}</p>\n"
    [one] = search([write_project(tmp_path, {"page.html": text})])
    assert (one.line, one.column) == (2, 10)
    assert one.code == "<p>{% if request.flags.a %}x{% endif %}</p>"


def test_template_in_a_string_is_found_at_its_line(tmp_path: Path) -> None:
    views = """\
def page():
    '''{% load flagstaff %}{% flag "of_docstring" %}'''
    one = Template("{% load flagstaff %}" "{% flag 'a' %}x{% endflag %}")
    two = '''{% load flagstaff %}
      {% flag "b" %}x{% endflag %}'''
"""
    found = list(search([write_project(tmp_path, {"views.py": views})]))
    assert [(one.key, one.line, one.column) for one in found] == [("a", 3, 20), ("b", 5, 7)]


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("page.html", LOAD + '{% variant "a" as color %}'),
        ("jinja2/page.html", "{% if request.flags.variant('a') == 'green' %}x{% endif %}"),
        ("page.jinja", "{% if get_variant('a', request.user) == 'green' %}x{% endif %}"),
    ],
)
def test_key_of_an_experiment_is_found(tmp_path: Path, name: str, text: str) -> None:
    [one] = search([write_project(tmp_path, {name: text})])
    assert (one.kind, one.key, one.about) == ("template", "a", "experiment")


@pytest.mark.parametrize(
    ("path", "count"),
    [
        ("shop/templates/shop/worker.js", 1),
        ("shop/templates/shop/style.css", 1),
        ("shop/templates/shop/data.json", 1),
        ("shop/templates/shop/mail.md", 1),
        ("static/worker.js", 0),
    ],
)
def test_any_text_in_a_folder_of_templates_is_searched(
    tmp_path: Path, path: str, count: int
) -> None:
    text = LOAD + "{% flag 'a' %}x{% endflag %}"
    assert found(tmp_path, {path: text}) == [("template", "a")] * count
