"""The names of other libraries: what `--also waffle` finds."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.references import found_in, found_with_waffle

_LOAD = "{% load waffle_tags %}"
PLACES = {
    ("evaluation", "flag"): [
        "from waffle import flag_is_active\nflag_is_active(request, 'a')",
        "import waffle\nwaffle.flag_is_active(request, flag_name='a')",
        "from waffle.decorators import flag_is_active as f\nf(request, 'a', read_only=True)",
        "from flagstaff.compat import waffle\nwaffle.flag_is_active(request, 'a')",
        "from flagstaff.compat.waffle import flag_is_active\nflag_is_active(None, 'a')",
        "from waffle import *\nflag_is_active(request, 'a')",
    ],
    ("evaluation", "switch"): [
        "from waffle import switch_is_active\nswitch_is_active('a')",
        "from waffle.models import switch_is_active\nNAME = 'a'\nswitch_is_active(NAME)",
        "from waffle import switch_is_active\ndef on(name): return switch_is_active(name)\non('a')",
    ],
    ("evaluation", "sample"): ["import waffle as w\nw.sample_is_active('a')"],
    ("decorator", "flag"): [
        "from waffle.decorators import waffle_flag\n@waffle_flag('a')\ndef view(request): ...",
        "from waffle import decorators as d\nview = d.waffle_flag('a', redirect_to='x')(view)",
    ],
    ("decorator", "switch"): [
        "import waffle.decorators\nwaffle.decorators.waffle_switch('a')(view)",
    ],
    ("mixin", "flag"): [
        "from waffle.mixins import WaffleFlagMixin as M\nclass V(M):\n    waffle_flag = 'a'",
    ],
    ("mixin", "switch"): [
        "import waffle.mixins as w\nclass V(w.WaffleSwitchMixin):\n    waffle_switch: str = 'a'",
        "from waffle.mixins import *\nView.as_view(waffle_switch='a')",
    ],
    ("test", "flag"): [
        "from waffle.testutils import override_flag\nwith override_flag('a', active=True): ...",
        "from flagstaff.compat.waffle import testutils\ntestutils.override_flag('a', True)",
    ],
    ("test", "switch"): ["from waffle.testutils import override_switch\noverride_switch('a', 1)"],
    ("test", "sample"): ["from waffle.testutils import *\noverride_sample('a', active=0.5)"],
}


@pytest.mark.parametrize(
    ("kind", "source", "code"),
    [(*place, code) for place, codes in PLACES.items() for code in codes],
)
def test_place_of_waffle_has_its_kind_and_what_the_name_is_of(
    tmp_path: Path, kind: str, source: str, code: str
) -> None:
    found = found_with_waffle(tmp_path, {"views.py": code})
    keys = [(one[0], one[1], one[3]) for one in found if one[0] != "dynamic"]
    assert keys == [(kind, "a", source)]


@pytest.mark.parametrize(
    ("path", "code", "name", "source"),
    [
        ("a.html", f"{_LOAD}{{% flag 'a' %}}x{{% endflag %}}", "{% flag %}", "flag"),
        ("a.html", f'{_LOAD}{{% switch "a" %}}x{{% endswitch %}}', "{% switch %}", "switch"),
        ("a.html", f"{_LOAD}{{% sample 'a' %}}x{{% endsample %}}", "{% sample %}", "sample"),
        ("a.html", "{% load flagstaff %}{% flag 'a' %}x{% endflag %}", "{% flag %}", ""),
        ("a.jinja", "{% if waffle.flag('a') %}x{% endif %}", "waffle.flag", "flag"),
        ("a.jinja", "{{ waffle.switch('a') }}", "waffle.switch", "switch"),
        ("a.jinja", "{% flag 'a' %}x{% endflag %}", "{% flag %}", ""),
    ],
)
def test_tag_of_waffle_is_found_by_the_library_that_is_loaded(
    tmp_path: Path, path: str, code: str, name: str, source: str
) -> None:
    found = found_with_waffle(tmp_path, {path: code})
    assert found == [("template", "a", name, source)]


def test_tag_of_a_library_that_needs_no_load_is_found(tmp_path: Path) -> None:
    settings = "TEMPLATES = [{'OPTIONS': {'builtins': ['waffle.templatetags.waffle_tags']}}]"
    files = {"settings.py": settings, "a.html": "{% switch 'a' %}x{% endswitch %}"}
    assert found_with_waffle(tmp_path, files) == [("template", "a", "{% switch %}", "switch")]


def test_without_the_option_names_of_waffle_are_no_references(tmp_path: Path) -> None:
    for codes in PLACES.values():
        for code in codes:
            assert found_in(tmp_path, views=code) == []
