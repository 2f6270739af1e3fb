"""The code in the pages of the documentation."""

import re
import sys
from collections.abc import Iterator
from pathlib import Path
from textwrap import dedent
from types import ModuleType
from typing import Any, NamedTuple

from django.template import Engine
from django.template.base import Template

from flagstaff import Flag, Value

DOCS = Path(__file__).resolve().parent.parent.parent / "docs"


#: The values in `shop/flags.py` of the pages, by the name of their constant. All others are flags.
VALUES: dict[str, tuple[str, Any]] = {
    "CARRIERS": ("carriers", ["post"]),
    "GATEWAY": ("payment_gateway", "stripe"),
    "PAGE_SIZE": ("page_size", 20),
}


class ShopFlags(ModuleType):
    """The `shop/flags.py` of the pages: it has all that they import from it."""

    def __getattr__(self, name: str) -> Any:
        if not name.isupper():
            raise AttributeError(name)
        # A page may declare the same flag, and some tests import pages when they are collected.
        return Value(*VALUES[name]) if name in VALUES else str.__new__(Flag, name.lower())


sys.modules["shop.flags"] = ShopFlags("shop.flags")


class Code(NamedTuple):
    """A block of code in a page, without the indent that it has in a list."""

    language: str
    text: str
    #: The line of its fence. The first line of the page is 1.
    line: int


def blocks_in(page: Path) -> Iterator[Code]:
    text = page.read_text()
    for block in re.finditer(r"^( *)```(\w+)\n(.*?)^\1```$", text, re.MULTILINE | re.DOTALL):
        yield Code(block[2], dedent(block[3]), text.count("\n", 0, block.start()) + 1)


def code_of(page: str, language: str, having: str = "") -> list[str]:
    """Returns the blocks of a page in one language that contain `having`."""
    blocks = blocks_in(DOCS / page)
    return [block.text for block in blocks if block.language == language and having in block.text]


def names_of(page: str, having: str, language: str = "python", **known: Any) -> dict[str, Any]:
    """Runs the only block of a page that contains `having`, and returns its names."""
    [block] = code_of(page, language, having)
    names: dict[str, Any] = {"INSTALLED_APPS": [], "MIDDLEWARE": [], **known}
    # Without the `annotations` of this file.
    exec(compile(block, page, "exec", dont_inherit=True), names)
    return names


def rows_of(page: str, first_heading: str) -> list[list[str]]:
    """Returns the cells of the only table of a page with this first heading."""
    table = re.compile(rf"^\| {first_heading} \|.*\n\|[-|]+\|\n((?:\|.*\n)+)", re.MULTILINE)
    [table_text] = table.findall((DOCS / page).read_text())
    return [
        [cell.strip() for cell in line.strip("|").split("|")] for line in table_text.splitlines()
    ]


def template_of(text: str) -> Template:
    """Returns a template of Django with the tags of flagstaff and the request in its context."""
    processors = ["django.template.context_processors.request"]
    processors.append("flagstaff.context_processors.flags")
    libraries = {"flagstaff": "flagstaff.templatetags.flagstaff"}
    libraries["cache"] = "django.templatetags.cache"
    return Engine(libraries=libraries, context_processors=processors).from_string(text)
