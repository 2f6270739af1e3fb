"""What a change page showed, so that a save can tell which fields the user has edited.

The page holds a digest of each field, because a value may be long.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from django.core.serializers.json import DjangoJSONEncoder
from django.db.models import QuerySet
from django.http import HttpRequest

from flagstaff._tables.optional_fields import TAGS
from flagstaff.changes.fields import canonical, canonical_json

#: The name of the hidden form field.
SUBMITTED = "_shown"


@dataclass(frozen=True)
class SubmittedState:
    """The fields of a page, each as a digest."""

    #: None without a history.
    version: int | None
    fields: Mapping[str, str]

    @classmethod
    def of(cls, version: int | None, values: Mapping[str, object]) -> SubmittedState:
        """Returns what a page shows of these values."""
        fields = {name: digest(name, value) for name, value in values.items()}
        return cls(version, fields)

    def as_json(self) -> dict[str, Any]:
        """Returns the content of the hidden field."""
        return asdict(self)


def parse_submitted(data: object) -> SubmittedState | None:
    """Reads the content of the hidden field; None if it has another form."""
    if not isinstance(data, dict):
        return None
    version, fields = (data.get(name) for name in ("version", "fields"))
    if not (version is None or isinstance(version, int)):
        return None
    if not (isinstance(fields, dict) and all(isinstance(text, str) for text in fields.values())):
        return None
    return SubmittedState(version, fields)


def was_submitted(request: HttpRequest, name: str) -> bool | None:
    """Whether the submitted page had a field; None if no page was submitted."""
    try:
        state = parse_submitted(json.loads(request.POST.get(SUBMITTED, "")))
    except ValueError:
        return None
    return None if state is None else name in state.fields


def digest(name: str, value: object) -> str:
    """Returns the same text for equal values, whether read from the row or from the form."""
    if name == "value":
        text = canonical(value, allow_nan=True)
    elif name in ("rules", "conditions", "choices"):
        text = canonical_json(value, allow_nan=True)
    elif name == TAGS and value is None:
        # A project's own column may be NULL, and its form has no tags then.
        return digest(name, [])
    else:
        plain = getattr(value, "pk", value)
        text = json.dumps(_as_posted(plain), cls=DjangoJSONEncoder)
    return hashlib.sha256(text.encode()).hexdigest()


def _as_posted(value: object) -> object:
    """Text as a browser sends it and a form reads it: the same after any number of saves."""
    if isinstance(value, str):
        return value.replace("\r\n", "\n").strip()
    return list(map(str, value)) if isinstance(value, QuerySet | list) else value
