"""The reader of Python code: which lines use which key."""

from pathlib import Path

import pytest

from flagstaff._code.files import Use
from flagstaff._code.python import PythonReader

FILES = {
    "shop/__init__.py": "",
    "shop/flags.py": """
from flagstaff import Flag, Value
NEW = Flag("new")
class Sizes:
    PAGE = Value("size", 20)
""",
    "shop/keys.py": """
from enum import Enum
from flagstaff import flag_enabled
KEY = "new"
TWICE = "a"
TWICE = "b"
class Keys(str, Enum):
    NEW = "new"
class Plain:
    NEW = KEY
""",
    "shop/all_keys.py": "from .keys import *\n",
    "shop/circle.py": "from shop.circle import KEY\n",
    "shop/views.py": """
from flagstaff.mixins import FlagRequiredMixin
class Base(FlagRequiredMixin): ...
""",
}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name, text in FILES.items():
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)
    return tmp_path


def uses(folder: Path, code: str) -> list[Use]:
    path = folder / "shop" / "code.py"
    return [*PythonReader([folder]).uses(str(path), code)]


@pytest.mark.parametrize(
    "code",
    [
        'from flagstaff import flag_enabled\nflag_enabled("new", user)',
        'from flagstaff import flag_enabled as on\nif on(key="new"): ...',
        'import flagstaff\nasync def view(): return flagstaff.resolve_flag("new")',
        'from flagstaff import snapshot\nsnapshot().flag_enabled("new")',
        'from flagstaff import snapshot\ndef view():\n    now = snapshot()\n    now.explain("new")',
        'request.flags.enabled("new")',
        'class View:\n    def get(self): return self.request.flags["new"]',
        'async def view(request):\n    flags = request.flags\n    await flags.aenabled("new")',
        'request.flags.snapshot.flag_enabled("new")',
        'from flagstaff import decorators\n@decorators.flag_required("new", old)\ndef view(): ...',
        'from flagstaff.contrib.drf import HasFlag\nHasFlag("new", status=403)',
        'from flagstaff.mixins import FlagRequiredMixin as M\nclass V(M):\n    flag_key = "new"',
        'from .views import Base\nclass V(Base):\n    flag_key: str = "new"',
        'View.as_view(flag_key="new")',
        # By constants.
        "from shop.keys import KEY, flag_enabled\nflag_enabled(KEY)",
        "from . import keys\nkeys.flag_enabled(keys.KEY)",
        "import shop.keys\nfrom flagstaff import flag_enabled\nflag_enabled(shop.keys.KEY)",
        "from .all_keys import KEY, flag_enabled\nflag_enabled(KEY)",
        "from shop.all_keys import *\nflag_enabled(KEY)",
        "from shop.keys import Keys, flag_enabled\nflag_enabled(Keys.NEW.value)",
        "from shop.keys import Plain, flag_enabled\nflag_enabled(Plain.NEW)",
        'from flagstaff import flag_enabled\nKEY = "new"\ndef view(): flag_enabled(KEY)',
        # By declarations.
        "from shop.flags import NEW\nNEW.enabled(user)",
        "from shop import flags\nflags.NEW.enabled(user)",
        "from shop.flags import NEW\nfrom flagstaff import flag_enabled\nflag_enabled(NEW)",
    ],
)
def test_use_of_a_flag_is_found(folder: Path, code: str) -> None:
    assert [(use.kind, use.key) for use in uses(folder, code)] == [("flag", "new")]


@pytest.mark.parametrize(
    "code",
    [
        'from flagstaff import get_value\nget_value("size", default=20)',
        'request.flags.value("size")',
        "from shop.flags import Sizes\nSizes.PAGE.get()",
    ],
)
def test_use_of_a_value_is_found(folder: Path, code: str) -> None:
    assert [(use.kind, use.key) for use in uses(folder, code)] == [("value", "size")]


@pytest.mark.parametrize(
    "code",
    [
        'from flagstaff.testing import override_flag\nwith override_flag("new", True): ...',
        'import pytest\n@pytest.mark.flagstaff(flag="new")\ndef test_view(): ...',
        'import pytest\n@pytest.mark.flagstaff(flag=["new"])\ndef test_view(): ...',
        'import pytest\n@pytest.mark.flagstaff(flag={"new": False})\ndef test_view(): ...',
        'def test_view(flagstaff_flags): flagstaff_flags.on("new")',
        'def test_view(flagstaff_flags): flagstaff_flags.set("new", enabled=True)',
    ],
)
def test_override_is_found_as_such(folder: Path, code: str) -> None:
    [use] = uses(folder, code)
    assert (use.kind, use.key, use.is_override) == ("flag", "new", True)


@pytest.mark.parametrize(
    "code",
    [
        # Names of others.
        'from flags.state import flag_enabled\nflag_enabled("new")',
        'from waffle import flag_is_active\nflag_is_active(request, "new")',
        'def flag_enabled(key): ...\nflag_enabled("new")',
        'settings.flags.enabled("new")',
        'class V(View):\n    flag_key = "new"',
        'client.variation(flag_key="new")',
        # Keys that are not known before the code runs.
        'from flagstaff import flag_enabled\nflag_enabled(f"{name}_new")',
        "from flagstaff import flag_enabled\ndef view(KEY): flag_enabled(KEY)",
        'from flagstaff import flag_enabled\nfor key in ("a", "b"): flag_enabled(key)',
        "from shop.keys import TWICE, flag_enabled\nflag_enabled(TWICE)",
        "from shop.circle import KEY\nfrom flagstaff import flag_enabled\nflag_enabled(KEY)",
        'from flagstaff import flag_enabled\nflag_enabled(*["new"])',
        # No Python.
        "from flagstaff import flag_enabled\nflag_enabled('new'",
    ],
)
def test_other_code_uses_no_key(folder: Path, code: str) -> None:
    assert uses(folder, code) == []


@pytest.mark.parametrize(
    "code", ["from shop.flags import OLD", "from . import flags\nflags.OLD.enabled(user)"]
)
def test_declaration_that_is_gone_is_found_with_those_of_its_file(folder: Path, code: str) -> None:
    [use] = uses(folder, code)
    assert (use.key, use.missing_in) == ("OLD", str(folder / "shop" / "flags.py"))
    assert use.names == ("Flag", "Value", "NEW", "Sizes")


def test_name_that_a_module_without_declarations_lacks_is_nothing(folder: Path) -> None:
    assert uses(folder, "from shop.keys import OLD\nfrom shop.views import flags") == []


def test_import_of_all_names_lacks_none(folder: Path) -> None:
    [use] = uses(folder, "from shop.flags import *\nNEW.enabled(user)")
    assert (use.key, use.missing_in) == ("new", "")


def test_use_has_its_line(folder: Path) -> None:
    code = 'from flagstaff import flag_enabled\n\nif flag_enabled(\n    "new", user\n):\n    pass\n'
    [use] = uses(folder, code)
    assert (use.line, use.code) == (4, '"new", user')


# The use is the line with the arrow.
BODIES = [
    "class View:\n    def a(self): ...\n\n    @cached\n    def b(self):\n        {}  # <-\n",
    "if DEBUG:\n    def a():\n        return 1\n    def b():\n        {}  # <-\n",
    "def a(\n    b,\n    c=1,\n) -> None:  # text:\n    {}  # <-",
    'def a():\n    b = """\ndef c():\n  flag_enabled("text")\n"""\n    return b\n{}  # <-\n',
    "def a():\n    # text\n# text\n    b = 1\n\n    def c():\n        {}  # <-\n",
    "def a(): return 1\nb = [\n    {},  # <-\n]\n",
    "try:\n    import b\nexcept ImportError:\n    def b():\n        pass\nelse:\n    {}  # <-\n",
]


@pytest.mark.parametrize("body", BODIES)
def test_use_between_functions_is_found_with_its_line(body: str, folder: Path) -> None:
    code = "from flagstaff import flag_enabled\n" + body.format('flag_enabled("new")')
    [use] = uses(folder, code)
    assert (use.key, use.line) == ("new", code[: code.index("# <-")].count("\n") + 1)
