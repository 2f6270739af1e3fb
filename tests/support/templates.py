"""Templates in the two languages, with the tags of flagstaff."""

from collections.abc import Callable
from typing import Any

from django.template.backends.django import DjangoTemplates
from django.template.backends.jinja2 import Jinja2

Render = Callable[..., str]
TAGS = "flagstaff.templatetags.flagstaff"
EXTENSION = "flagstaff.contrib.jinja2.FlagstaffExtension"
OPTIONS: dict[Any, dict[str, list[str]]] = {
    DjangoTemplates: {"builtins": [TAGS]},
    Jinja2: {"extensions": [EXTENSION]},
}


def renderer(kind: Any) -> Render:
    backend = kind({"NAME": "", "DIRS": [], "APP_DIRS": False, "OPTIONS": OPTIONS[kind]})

    def render(text: str, request: Any = None, **context: Any) -> str:
        return str(backend.from_string(text).render({"request": request, **context}))

    return render


in_django = renderer(DjangoTemplates)
in_jinja2 = renderer(Jinja2)
