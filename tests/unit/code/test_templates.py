"""The reader of templates and of text in other languages: which keys they name."""

from pathlib import Path

import pytest

from flagstaff._code.text import TemplateNames, template_uses, text_uses

LOADED = "{% load flagstaff %}\n"
JINJA = TemplateNames(jinja_folders=(Path("/pages"),))


def keys(text: str, names: TemplateNames | None = None) -> list[tuple[str, str]]:
    uses = template_uses("/pages/cart.html", text, names or TemplateNames())
    return [(use.kind, use.key) for use in uses]


@pytest.mark.parametrize(
    ("text", "key"),
    [
        ('{% flag "new" %}{% endflag %}', ("flag", "new")),
        ("{%- flag 'new' customer country=\"DE\" -%}", ("flag", "new")),
        ('{% value "size" default=20 as size %}', ("value", "size")),
        ('{% variant "color" %}', ("experiment", "color")),
        ("{% if request.flags.new and cart %}", ("flag", "new")),
        ("{{ request.flags.new }}", ("flag", "new")),
    ],
)
def test_use_in_a_template_is_found(text: str, key: tuple[str, str]) -> None:
    assert keys(f"{LOADED}{text}") == [key]
    assert keys(f"{LOADED}{{# {text} #}}{{% comment %}}{text}{{% endcomment %}}") == []
    assert keys(f"{LOADED}{{% verbatim %}}{text}{{% endverbatim %}}") == []


def test_tag_of_another_library_is_not_ours() -> None:
    tag = '{% load waffle_tags %}{% flag "new" %}'
    assert keys(tag) == []
    assert keys(tag, TemplateNames(has_builtin_tags=True)) == [("flag", "new")]


def test_variable_counts_if_the_context_processor_is_installed() -> None:
    text = '{% if cart and flags.new or flags.old %}{{ country.flags.de }}{{ "flags.no" }}'
    assert keys(text) == []
    names = TemplateNames(has_variable=True)
    assert keys(text, names) == [("flag", "new"), ("flag", "old")]


@pytest.mark.parametrize(
    "tag", ["for flags in parts", "for key, flags in parts", "with flags=mine", "get_own as flags"]
)
def test_variable_of_the_template_itself_is_not_ours(tag: str) -> None:
    names = TemplateNames(has_variable=True)
    assert keys(f"{{% {tag} %}}{{{{ flags.old }}}}", names) == []
    assert keys("{% for part in flags.new %}{{ flags.old }}", names) != []


def test_members_of_the_flags_of_a_request_are_no_keys() -> None:
    assert keys("{{ request.flags.visitor }}{{ request.flags.all }}") == []


def test_template_of_jinja_has_tags_and_functions() -> None:
    text = '{% flag "new", user %}{{ get_value("size") }}{% if flag_enabled("old") %}'
    assert keys(text, JINJA) == [("flag", "new"), ("value", "size"), ("flag", "old")]
    assert keys(text) == []


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("client.getBooleanValue('new', false)", [("flag", "new")]),
        ('const { value } = useBooleanFlagDetails("new", false)', [("flag", "new")]),
        ('client.getStringValue<Theme>("theme", "dark")', [("value", "theme")]),
        ('useFlag("new", false)', [("", "new")]),
        ("$ python manage.py flags kill new", [("flag", "new")]),
        ("manage.py flags value set size 50", [("value", "size")]),
        ("manage.py flags create new", []),
        ("FLAGSTAFF_FORCE_OFF=new,old", [("flag", "new"), ("flag", "old")]),
        ('  FLAGSTAFF_FORCE_OFF: "new"', [("flag", "new")]),
    ],
)
def test_key_in_another_language_is_found(text: str, expected: list[tuple[str, str]]) -> None:
    assert [(use.kind, use.key) for use in text_uses("a.txt", text)] == expected
