"""`manage.py check` names the lines of a project that use a key nobody declares."""

import re
from pathlib import Path

import pytest

from tests.support.projects import Project

SETTINGS = """
from pathlib import Path
BASE_DIR = Path(__file__).parent
TEMPLATES.append({
    "BACKEND": "django.template.backends.jinja2.Jinja2",
    "DIRS": [BASE_DIR / "pages"],
    "OPTIONS": {"extensions": ["flagstaff.contrib.jinja2.FlagstaffExtension"]},
})
"""
DECLARED = """
from flagstaff import Flag, Value

NEW_CHECKOUT = Flag("new_checkout", "Checkout on one page")
PAGE_SIZE = Value("page_size", 20, "Products on a page")
"""
#: Each file has one typo in its last line, and is right but for it.
TYPOS = {
    "shop/function.py": """
from flagstaff import flag_enabled, get_value
on, size = flag_enabled("new_checkout"), get_value("page_size")
on = flag_enabled("new_chekout")
""",
    "shop/decorator.py": """
from flagstaff.decorators import flag_required
@flag_required("new_chekout")
def view(request): ...
""",
    "shop/mixin.py": """
from django.views import View
from flagstaff.mixins import FlagRequiredMixin
class Base(FlagRequiredMixin, View): ...
class Checkout(Base):
    flag_key = "new_chekout"
""",
    "shop/templates/cart.html": """
{% load flagstaff %}{# {% flag "no_flag" %} #}
{% flag "new_checkout" %}new{% endflag %}{% value "page_size" %}
{% flag "new_chekout" %}new{% endflag %}
""",
    "pages/cart.html": """
{% flag "new_checkout" %}new{% endflag %}
{{ get_value("page_sise") }}
""",
    "shop/api.py": """
from flagstaff.contrib.drf import HasFlag
permissions = [HasFlag("new_checkout")]
permissions = [HasFlag("new_chekout")]
""",
    "shop/request.py": """
def view(request):
    request.flags.enabled("new_checkout")
    return request.flags.value("page_sise")
""",
    "shop/tests.py": """
from flagstaff.testing import override_flag
@override_flag("new_chekout", True)
def test_checkout(): ...
""",
    "shop/constant.py": """
import flagstaff
from shop.keys import CHECKOUT
on = flagstaff.flag_enabled(CHECKOUT)
""",
    "shop/deleted.py": """
def view(request):
    from shop.flags import NEW_CHEKOUT
""",
}
#: Uses that are right, and code that is not ours.
RIGHT = {
    "shop/keys.py": 'CHECKOUT = "new_chekout"\n',
    "shop/right.py": """
from flagstaff import flag_enabled, get_value
from shop import flags
from shop.flags import NEW_CHECKOUT

def view(request, key):
    flags.NEW_CHECKOUT.enabled(request.user)
    flag_enabled(key), flag_enabled(NEW_CHECKOUT), get_value("allowed"), flag_enabled(f"{key}_2")
""",
    "shop/others.py": """
from ldclient import flag_enabled
flag_enabled("other")
""",
    "shop/not_python.py": "from flagstaff import (\n",
    "shop/templates/waffle.html": '{% load waffle_tags %}{% flag "other" %}{% endflag %}',
    # Another project below BASE_DIR.
    "other/.git/HEAD": "",
    "other/module.py": 'from flagstaff import flag_enabled\nflag_enabled("other")\n',
    "venv/pyvenv.cfg": "",
    "venv/module.py": 'from flagstaff import flag_enabled\nflag_enabled("other")\n',
}


@pytest.fixture
def shop(tmp_path: Path, empty_database: str) -> Project:
    allowed = 'FLAGSTAFF = {"ALLOWED_KEYS": ["allowed"]}\n'
    files = {"shop/__init__.py": "", "shop/flags.py": DECLARED, **TYPOS, **RIGHT}
    return Project(
        tmp_path,
        empty_database,
        apps=["flagstaff", "shop"],
        settings=f"{SETTINGS}{allowed}",
        files=files,
    )


def reported(output: str) -> dict[str, str]:
    """The messages of the check, by file, without their hints."""
    reports = re.findall(r"\?: \(flagstaff\.(E063|W064)\) (\S+?):(\d+): (.*)\n", output)
    assert len(reports) == output.count("(flagstaff."), output
    return {f"{path}:{line}": f"{check} {text}" for check, path, line, text in reports}


@pytest.mark.timeout(120)
def test_check_names_each_typo_with_its_line_and_a_similar_key(shop: Project) -> None:
    flag = 'no flag has the key "new_chekout"; did you mean "new_checkout"?'
    value = 'no value has the key "page_sise"; did you mean "page_size"?'
    assert reported(shop.manage("check", status=1)) == {
        "pages/cart.html:3": f"E063 {value}",
        "shop/api.py:4": f"E063 {flag}",
        "shop/constant.py:4": f"E063 {flag}",
        "shop/decorator.py:3": f"E063 {flag}",
        "shop/deleted.py:3": 'E063 shop/flags.py has no NEW_CHEKOUT; did you mean "NEW_CHECKOUT"?',
        "shop/function.py:4": f"E063 {flag}",
        "shop/mixin.py:6": f"E063 {flag}",
        "shop/request.py:4": f"E063 {value}",
        "shop/templates/cart.html:4": f"E063 {flag}",
        "shop/tests.py:3": f"W064 {flag}",
    }


@pytest.mark.timeout(120)
def test_code_is_read_by_check_alone_and_rows_count_with_a_database(shop: Project) -> None:
    # Another command than check runs.
    shop.manage("migrate", "--verbosity=0")
    shop.run("from flagstaff import changes; changes.flags.create('new_chekout')")
    shop.run("from flagstaff import changes; changes.values.create('page_sise', 50)")
    assert [*reported(shop.manage("check", "--database=default", status=1))] == [
        "shop/deleted.py:3"
    ]


@pytest.mark.timeout(120)
def test_project_that_declares_nothing_is_not_checked(shop: Project) -> None:
    shop.write("shop/flags.py", "")
    assert reported(shop.manage("check")) == {}
