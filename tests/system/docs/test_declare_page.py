"""A project that follows the page *Declare flags and values*."""

from pathlib import Path

import pytest

from tests.support.pages import code_of
from tests.support.projects import Project

PAGE = "how-to/declare.md"
SETTINGS = "from pathlib import Path\nBASE_DIR = Path(__file__).parent\n"
TEMPLATE = "{{ size }} for {{ fee }}"
#: What the page says about keys, in a shell.
READ = """
import json
from django.contrib.auth.models import User
from django.test import RequestFactory
from flagstaff import flag_enabled, get_value
from shop.flags import GATEWAY, NEW_CHECKOUT, PAGE_SIZE
from shop.views import products

def refused(function):
    try:
        function()
    except TypeError as error:
        return str(error)

request = RequestFactory().get("/")
request.user = User.objects.create(username="alice")
print(json.dumps({
    "page": products(request).content.decode(),
    "by key": [flag_enabled("new_checkout", request.user), get_value("payment_gateway")],
    "by declaration": [flag_enabled(NEW_CHECKOUT), GATEWAY.get()],
    "refused": [refused(lambda: bool(NEW_CHECKOUT)), refused(lambda: PAGE_SIZE + 1)],
}))
"""


@pytest.fixture
def shop(tmp_path: Path, empty_database: str) -> Project:
    [flags] = code_of(PAGE, "py", "# shop/flags.py")
    [views] = code_of(PAGE, "py", "# shop/views.py")
    project = Project(
        tmp_path,
        empty_database,
        apps=["flagstaff", "shop"],
        middleware=["flagstaff.middleware.FlagstaffMiddleware"],
        settings=SETTINGS,
        files={
            "shop/__init__.py": "",
            "shop/flags.py": flags,
            "shop/views.py": views,
            "shop/templates/three_pages.html": TEMPLATE,
        },
    )
    project.manage("migrate", "--verbosity=0")
    return project


@pytest.mark.timeout(120)
def test_project_of_the_page_works_without_rows(shop: Project) -> None:
    assert shop.manage("check") == "System check identified no issues (0 silenced).\n"
    assert shop.printed(READ) == {
        "page": "20 for 9.80",
        "by key": [False, "stripe"],
        "by declaration": [False, "stripe"],
        "refused": [
            "Flag('new_checkout') is a key, not its result; write NEW_CHECKOUT.enabled(user)",
            "Value('page_size') is a key, not its result; write PAGE_SIZE.get()",
        ],
    }


@pytest.mark.timeout(120)
def test_check_prints_what_the_page_shows(shop: Project) -> None:
    shop.append(
        '\n\nfrom flagstaff import flag_enabled\n\nflag_enabled("new_chekout")\n', "shop/views.py"
    )
    [block] = code_of(PAGE, "console", "E063")
    message = block.splitlines()[-1]
    number = shop.read("shop/views.py").splitlines().index('flag_enabled("new_chekout")') + 1
    assert message.replace(":9:", f":{number}:") in shop.manage("check", status=1)


@pytest.mark.timeout(120)
def test_project_adopts_its_rows_by_the_page(shop: Project) -> None:
    shop.write("shop/flags.py", "")
    shop.write("shop/views.py", "")
    shop.run("from flagstaff import changes; changes.flags.create('new_checkout')")
    shop.run("from flagstaff import changes; changes.values.create('page_size', 50)")
    [command] = code_of(PAGE, "console", "flags declare")
    line, _, file = command.strip().removeprefix("$ python manage.py ").partition(" > ")
    shop.write(file, shop.manage(*line.split()))
    read = "from shop.flags import NEW_CHECKOUT, PAGE_SIZE; print(PAGE_SIZE.default)"
    assert shop.printed(read) == 50
