"""The patch of templates of Django and Jinja2: tags, conditions and branches."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from django.template import Node

from flagstaff.templatetags.flagstaff import register
from tests.support.references import listed, resolved


@pytest.mark.parametrize(
    ("source", "on", "after"),
    [
        ('<p>{% flag "a" %}A{% else %}B{% endflag %}</p>\n', True, "<p>A</p>\n"),
        ('<p>{% flag "a" %}A{% else %}B{% endflag %}</p>\n', False, "<p>B</p>\n"),
        ('<p>{% flag "a" %}A{% endflag %}</p>\n', False, "<p></p>\n"),
        ('{% flag "a" %}\n  A\n{% else %}\n  B\n{% endflag %}\nC\n', True, "  A\nC\n"),
        ("{% flag 'a' %}{% if x %}1{% else %}2{% endif %}{% else %}B{% endflag %}\n", True,
         "{% if x %}1{% else %}2{% endif %}\n"),
        ("{% if request.flags.a %}A{% else %}B{% endif %}\n", True, "A\n"),
        ("{% if not request.flags.a %}A{% else %}B{% endif %}\n", True, "B\n"),
        ("{% flag 'a' %}{% include './x.html' %}{% url 'x' %}{% endflag %}\n", True,
         "{% include './x.html' %}{% url 'x' %}\n"),
        ('{% flag "a" %}{% flag "b" %}1{% endflag %}{% endflag %}\n', True,
         '{% flag "b" %}1{% endflag %}\n'),
    ],
)  # fmt: skip
def test_tag_in_a_template_is_resolved(tmp_path: Path, source: str, on: bool, after: str) -> None:
    source, after = (f"{{% load flagstaff %}}\n{text}" for text in (source, after))
    assert resolved(tmp_path, source, on=on, name="page.html") == after


@pytest.mark.parametrize(
    ("source", "on", "after"),
    [
        ("{% if request.flags.a and x %}A{% endif %}", True, "{% if x %}A{% endif %}"),
        ("{% if request.flags.a and x %}A{% else %}B{% endif %}", False, "B"),
        ("{% if x and request.flags.a %}A{% endif %}", True, "{% if x %}A{% endif %}"),
        ("{% if x and request.flags.a %}A{% else %}B{% endif %}", False, "B"),
        ("{% if request.flags.a or x|length %}A{% endif %}", True, "A"),
        ("{% if request.flags.a or x|length %}A{% endif %}", False,
         "{% if x|length %}A{% endif %}"),
        ("{% if x and not request.flags.a and y %}A{% endif %}", False,
         "{% if x and y %}A{% endif %}"),
        ("{% if x or request.flags.a and y %}A{% endif %}", True, "{% if x or y %}A{% endif %}"),
        ("{% if x == 1 and request.flags.a %}A{% endif %}", True, "{% if x == 1 %}A{% endif %}"),
        ("{% if x not in y and request.flags.a %}A{% endif %}", True,
         "{% if x not in y %}A{% endif %}"),
        ("{% if request.flags.a %}A{% elif x %}B{% else %}C{% endif %}", True, "A"),
        ("{% if request.flags.a %}A{% elif x %}B{% else %}C{% endif %}", False,
         "{% if x %}B{% else %}C{% endif %}"),
        ("{% if x %}A{% elif request.flags.a %}B{% elif y %}C{% else %}D{% endif %}", True,
         "{% if x %}A{% else %}B{% endif %}"),
        ("{% if x %}A{% elif request.flags.a %}B{% elif y %}C{% else %}D{% endif %}", False,
         "{% if x %}A{% elif y %}C{% else %}D{% endif %}"),
        ("{% if x %}A{% elif request.flags.a and y %}B{% endif %}", True,
         "{% if x %}A{% elif y %}B{% endif %}"),
        ("{% if x %}A{% elif request.flags.a %}B{% endif %}", False, "{% if x %}A{% endif %}"),
        ("{% if request.flags.a %}\n A\n{% elif x %}\n B\n{% endif %}", False,
         "{% if x %}\n B\n{% endif %}"),
        ("{% if x %}{% if request.flags.a %}A{% else %}B{% endif %}{% else %}C{% endif %}", True,
         "{% if x %}A{% else %}C{% endif %}"),
    ],
)  # fmt: skip
def test_condition_of_a_template_is_simplified(
    tmp_path: Path, source: str, on: bool, after: str
) -> None:
    assert resolved(tmp_path, f"{source}\n", on=on, name="page.html") == f"{after}\n"


@pytest.mark.parametrize(
    "source",
    [
        "{% if x|length and request.flags.a %}A{% endif %}",
        "{% if request.flags.a == x %}A{% endif %}",
        "{% if request.flags.a|yesno %}A{% endif %}",
        "{{ request.flags.a }}",
        "{% verbatim %}{% if request.flags.a %}A{% endif %}{% endverbatim %}{{ request.flags.a }}",
        "{# {% if request.flags.a %}A{% endif %} #}{{ request.flags.a }}",
    ],
)
def test_condition_of_a_template_that_is_not_exact_stays(tmp_path: Path, source: str) -> None:
    assert listed(tmp_path, f"{source}\n", on=False, name="page.html") == ["a"]


def test_tag_of_another_library_stays(tmp_path: Path, settings: Any) -> None:
    libraries = {"waffle_tags": "flagstaff.templatetags.flagstaff"}
    settings.TEMPLATES = [{**settings.TEMPLATES[0], "OPTIONS": {"libraries": libraries}}]
    ours = '{% load flagstaff %}{% flag "a" %}A{% endflag %}\n'
    other = '{% load waffle_tags %}{% flag "a" %}B{% endflag %}\n'
    after = f"{{% load flagstaff %}}A\n{other}"
    assert resolved(tmp_path, ours + other, name="page.html") == after


FLAG = '{% load flagstaff %}{% flag "a" %}'


@pytest.mark.parametrize(
    "source",
    [
        f"{FLAG}{{% load i18n %}}{{% endflag %}}{{% translate 'x' %}}",
        f"{FLAG}{{% load i18n %}}{{% endflag %}}",
        f"{FLAG}{{% cycle 1 2 as c silent %}}{{% endflag %}}{{% cycle c %}}",
        f"{FLAG}{{% cycle 1 2 %}}{{% endflag %}}{{% resetcycle %}}",
        f"{{% extends 'x' %}}{FLAG}{{% block y %}}A{{% endblock %}}{{% endflag %}}",
        f"{FLAG}{{% if x %}}{{% load i18n %}}{{% endif %}}{{% endflag %}}",
        f"{FLAG}A{{% endflag %}}{{% unknown %}}",
        f"{FLAG}A{{% endflag %}}{{% load unknown %}}",
    ],
)
def test_tag_that_acts_while_a_template_is_parsed_stays(tmp_path: Path, source: str) -> None:
    assert listed(tmp_path, f"{source}\n", on=False, name="page.html") == ["a"]


def test_tag_of_a_library_that_acts_while_a_template_is_parsed_stays(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def note(parser: Any, _token: object) -> Node:
        parser.notes = ["noted"]
        return Node()

    monkeypatch.setitem(register.tags, "note", note)
    source = f"{FLAG}{{% note %}}{{% endflag %}}\n"
    assert listed(tmp_path, source, on=False, name="page.html") == ["a"]
    assert "{% note %}" in resolved(tmp_path, source, on=True, name="page.html")


@pytest.mark.parametrize(
    ("source", "on", "after"),
    [
        ('{% if flag_enabled("a") %}A{% else %}B{% endif %}', True, "A"),
        ('{% if flag_enabled("a") %}A{% else %}B{% endif %}', False, "B"),
        ('{% if not flag_enabled("a") %}A{% else %}B{% endif %}', True, "B"),
        ("{% if flag_enabled('a', request.user, country='DE') %}A{% endif %}", True, "A"),
        ("{% if request.flags.enabled('a') %}A{% endif %}", True, "A"),
        ("{% if request.flags['a'] %}A{% endif %}", True, "A"),
        ("{% if flag_enabled('a') and x %}A{% endif %}", True, "{% if x %}A{% endif %}"),
        ("{% if (flag_enabled('a') or x) and y %}A{% endif %}", False,
         "{% if x and y %}A{% endif %}"),
        ("{% if not (flag_enabled('a') and x) %}A{% endif %}", True, "{% if not x %}A{% endif %}"),
        ("{% if x is not defined and flag_enabled('a') %}A{% endif %}", True,
         "{% if x is not defined %}A{% endif %}"),
        ("{% set n = 1 %}{% if flag_enabled('a') %}A{% endif %}{% set m %}1{% endset %}", True,
         "{% set n = 1 %}A{% set m %}1{% endset %}"),
    ],
)  # fmt: skip
def test_condition_of_a_jinja_template_is_resolved(
    tmp_path: Path, source: str, on: bool, after: str
) -> None:
    assert resolved(tmp_path, f"{source}\n", on=on, name="page.jinja") == f"{after}\n"


@pytest.mark.parametrize(
    "source",
    [
        "{%- if flag_enabled('a') -%}A{% endif %}",
        "{% if save() and flag_enabled('a') %}A{% endif %}",
        "{% if flag_enabled('a', save()) %}A{% endif %}",
        "{% if x if flag_enabled('a') else y %}A{% endif %}",
        "{% if (x and y if flag_enabled('a') else z) %}A{% endif %}",
        "{% if flag_enabled('a')|int %}A{% endif %}",
        "{% if x %}{% set n = flag_enabled('a') %}{% else %}{% endif %}",
        "{% if flag_enabled('a') %}{% block x %}A{% endblock %}{% endif %}",
        "{% if flag_enabled('a') %}A{% endif %}{{ x|unknown }}",
        "{% raw %}{% if flag_enabled('a') %}A{% endif %}{% endraw %}{{ flag_enabled('a') }}",
    ],
)
def test_condition_of_a_jinja_template_that_is_not_exact_stays(tmp_path: Path, source: str) -> None:
    assert listed(tmp_path, f"{source}\n", on=False, name="page.jinja") == ["a"]
