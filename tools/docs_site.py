"""What `make docs` adds to the site: a check of the extension, `llms.txt`, the order of the search.

mkdocs.yml names this file as a hook; mkdocs calls the functions `on_…`.
"""

from __future__ import annotations

import inspect
import re
from importlib import import_module
from pathlib import Path
from pkgutil import resolve_name
from typing import Any

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.exceptions import PluginError
from mkdocs.structure.nav import Navigation, Section
from mkdocs.structure.pages import Page

README = Path(__file__).resolve().parent.parent / "README.md"
#: What an assistant is likely to call, in the order of `llms.txt`.
CALLS = (
    "flagstaff:Flag",
    "flagstaff:Flag.enabled",
    "flagstaff:Value",
    "flagstaff:Value.get",
    "flagstaff:flag_enabled",
    "flagstaff:get_value",
    "flagstaff:explain",
    "flagstaff.decorators:flag_required",
    "flagstaff.middleware:RequestFlags.enabled",
    "flagstaff.middleware:RequestFlags.aenabled",
    "flagstaff.testing:override_flag",
    "flagstaff.testing:override_value",
    "flagstaff.changes:flags.enable",
    "flagstaff.changes:flags.disable",
    "flagstaff.changes:flags.set_rollout",
    "flagstaff.changes:values.set",
)
_HEAD = """\
# django-flagstaff

> {description}. Distribution django-flagstaff, import flagstaff.

- Declare each flag and value once, in `flags.py` of an installed app, not in migrations.
- Evaluate with `FLAG.enabled(user)` and `VALUE.get(user)`, which make no query and need no await.
- In async views: `await request.flags.aenabled(FLAG)`, because `request.user` makes a query.
- Change flags with `flagstaff.changes` or `manage.py flags …`, not with `save()`.
- A flag is no permission: check permissions, too.

## Code
"""
#: The search shows guides above reference and background: a newcomer looks for them.
_ADDED = "this.add(doc);"
_ADDED_WITH_BOOST = (
    "this.add(doc, {boost: /^(how-to|quickstart|testing)/.test(doc.location) ? 2 : 1});"
)

_navigation: list[Navigation] = []


def on_config(config: MkDocsConfig) -> None:
    """Fails without the extension, because the API would then lack its functions."""
    try:
        import_module("flagstaff._core")
    except ImportError as error:
        raise PluginError(
            f"the API needs the compiled extension, build it with `make docs` ({error})"
        ) from error


def on_nav(nav: Navigation, **_: Any) -> None:
    """Keeps the navigation, for the list of pages."""
    _navigation[:] = [nav]


def on_post_build(config: MkDocsConfig) -> None:
    """Writes `llms.txt`, and changes the script of the search."""
    site = Path(config.site_dir)
    head = _HEAD.format(description=config.site_description)
    parts = [head, *code_blocks(), "\n## Calls\n", *calls(), "\n## Pages\n", *pages()]
    (site / "llms.txt").write_text("\n".join(parts) + "\n")
    worker = site / "search" / "worker.js"
    script = worker.read_text()
    if script.count(_ADDED) != 1:
        raise PluginError(f"tools/docs_site.py expects {_ADDED!r} in the search of mkdocs")
    worker.write_text(script.replace(_ADDED, _ADDED_WITH_BOOST))


def code_blocks() -> list[str]:
    """Returns the code of the README's section *Use*."""
    section = README.read_text().split("\n## Use\n")[1].split("\n## ")[0]
    return re.findall(r"^```(?:python|django)\n.*?^```$", section, re.MULTILINE | re.DOTALL)


def calls() -> list[str]:
    """Returns a line for each call: its arguments, and the first line of its docstring."""
    _set_up_django()
    return [f"- `{call_of(name)}`: {_first_line(resolve_name(name))}" for name in CALLS]


def call_of(name: str) -> str:
    """Returns the call with its module, without types."""
    signature = inspect.signature(resolve_name(name))
    parameters = [
        parameter.replace(annotation=parameter.empty)
        for parameter in signature.parameters.values()
        if parameter.name != "self"
    ]
    plain = signature.replace(parameters=parameters, return_annotation=inspect.Signature.empty)
    return name.replace(":", ".") + str(plain)


def pages() -> list[str]:
    """Returns a line for each group of pages, with links from the root of the site."""
    [nav] = _navigation
    lines = []
    for group in nav.items:
        if isinstance(group, Section):
            pages = [page for page in group.children if isinstance(page, Page)]
            links = " · ".join(f"[{page.title}]({page.url})" for page in pages)
            lines.append(f"- {group.title}: {links}")
    return lines


def _first_line(documented: Any) -> str:
    return (inspect.getdoc(documented) or "").partition("\n")[0]


def _set_up_django() -> None:
    import django  # noqa: PLC0415 (only here, as the settings below)
    from django.conf import settings  # noqa: PLC0415

    if not settings.configured:
        names = ("contrib.auth", "contrib.contenttypes")
        settings.configure(
            INSTALLED_APPS=[*(f"django.{name}" for name in names), "flagstaff"],
            DATABASES={"default": {"ENGINE": "django.db.backends.postgresql"}},
        )
        django.setup()
