"""The code in the pages of the documentation."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from django.template import Engine
from django.template.base import Template

DOCS = Path(__file__).resolve().parent.parent.parent / "docs"


def code_of(page: str, language: str, having: str = "") -> list[str]:
    """Returns the blocks of a page in one language that contain `having`."""
    block = re.compile(rf"^```{language}\n(.*?)^```$", re.MULTILINE | re.DOTALL)
    return [code for code in block.findall((DOCS / page).read_text()) if having in code]


def names_of(page: str, having: str, language: str = "python", **given: Any) -> dict[str, Any]:
    """Runs the only block of a page that contains `having`, and returns its names."""
    [block] = code_of(page, language, having)
    names: dict[str, Any] = {"INSTALLED_APPS": [], "MIDDLEWARE": [], **given}
    exec(block, names)
    return names


def rows_of(page: str, first_heading: str) -> list[list[str]]:
    """Returns the cells of the only table of a page with this first heading."""
    table = re.compile(rf"^\| {first_heading} \|.*\n\|[-|]+\|\n((?:\|.*\n)+)", re.MULTILINE)
    [found] = table.findall((DOCS / page).read_text())
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in found.splitlines()]


def template_of(text: str) -> Template:
    """Returns a template of Django with the tags of flagstaff and the request in its context."""
    processors = ["django.template.context_processors.request"]
    processors.append("flagstaff.context_processors.flags")
    libraries = {"flagstaff": "flagstaff.templatetags.flagstaff"}
    return Engine(libraries=libraries, context_processors=processors).from_string(text)
