"""A document's text, in either format."""

from __future__ import annotations

from types import ModuleType
from typing import Any, Final, Literal

from flagstaff.exceptions import DocumentError, FlagstaffError
from flagstaff.serialization import json_format
from flagstaff.serialization.document import MASK
from flagstaff.serialization.problems import Problem, Problems

__all__ = ["LARGEST", "Format", "as_text", "as_tree"]

Format = Literal["yaml", "json"]

#: In bytes. Some hundred thousand users on allow-lists.
LARGEST: Final = 16 * 2**20

_HEAD = "# Flags and values, written by `manage.py flags export`.\n"
_HEAD_OF_SECRETS = f"# {MASK} stands for a secret, which an import leaves as it is.\n"


def as_text(document: Any, format: Format, *, ascii_only: bool = False) -> str:  # noqa: A002 (as the option is called)
    """The text of what `export` gave. Raises FlagstaffError where PyYAML is missing."""
    if format == "json":
        return json_format.dumped(document, ascii_only=ascii_only)
    text: str = _yaml_format().dumped(document, ascii_only=ascii_only)
    has_secrets = any(one.get("value") == MASK for one in document.get("values", {}).values())
    return _HEAD + (_HEAD_OF_SECRETS if has_secrets and not ascii_only else "") + text


def as_tree(text: str, format: Format, problems: Problems) -> Any:  # noqa: A002 (as above)
    """What a text says, as plain data. Raises DocumentError, and FlagstaffError without PyYAML."""
    # A text that UTF-8 cannot hold is told of where it stands.
    if len(text.encode(errors="replace")) > LARGEST:
        raise DocumentError([Problem((), f"is larger than {LARGEST:,} bytes; import it in parts")])
    return (json_format if format == "json" else _yaml_format()).loaded(text, problems)


def _yaml_format() -> ModuleType:
    try:
        from flagstaff.serialization import yaml_format  # noqa: PLC0415 (PyYAML is an extra)
    except ModuleNotFoundError as error:
        if error.name != "yaml":
            raise
        raise FlagstaffError(
            'YAML needs PyYAML: pip install "django-flagstaff[yaml]"; JSON needs nothing'
        ) from error
    return yaml_format
