"""Converts a document to text and back, as YAML or JSON."""

from __future__ import annotations

from collections.abc import Mapping
from types import ModuleType
from typing import Any, Final, Literal

from flagstaff._words.mask import MASK
from flagstaff.exceptions import DocumentError, FlagstaffError
from flagstaff.serialization import json_format
from flagstaff.serialization.messages import FILE_TOO_LARGE, NO_PYYAML
from flagstaff.serialization.problems import Problem, Problems

Format = Literal["yaml", "json"]

#: The maximum size in bytes: some hundred thousand allowed users.
LARGEST: Final = 16 * 2**20

_HEADER = "# Flags, values and segments, written by `manage.py flags export`.\n"
_MASK_HEADER = f"# {MASK} masks a secret value. An import keeps the stored value.\n"


def as_text(document: Mapping[str, Any], format: Format, *, ascii_only: bool = False) -> str:  # noqa: A002 (the name of the option)
    """Returns the text of an exported document. Raises FlagstaffError if PyYAML is missing."""
    if format == "json":
        return json_format.dumps(document, ascii_only=ascii_only)
    text: str = _yaml_format().dumps(document, ascii_only=ascii_only)
    has_secrets = any(MASK in value.values() for value in document.get("values", {}).values())
    return _HEADER + (_MASK_HEADER if has_secrets and not ascii_only else "") + text


def as_tree(text: str, format: Format, problems: Problems) -> object:  # noqa: A002 (the name of the option)
    """Returns the parsed text. Raises DocumentError, and FlagstaffError if PyYAML is missing."""
    # "replace", because lone surrogates are reported later with their place.
    if len(text.encode(errors="replace")) > LARGEST:
        raise DocumentError([Problem((), FILE_TOO_LARGE(limit=LARGEST))])
    tree: object = (json_format if format == "json" else _yaml_format()).loads(text, problems)
    return tree


def _yaml_format() -> ModuleType:
    try:
        from flagstaff.serialization import yaml_format  # noqa: PLC0415 (PyYAML is an extra)
    except ModuleNotFoundError as error:
        if error.name != "yaml":
            raise
        raise FlagstaffError(NO_PYYAML(package="django-flagstaff[yaml]")) from error
    return yaml_format
