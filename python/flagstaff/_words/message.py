"""Messages for people: a code and values, as text in English and in the reader's language.

A message is created once, where something happens. Terminal, log and JSON use its English text,
pages show it with `localized`, and tables store it with `to_json`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from decimal import Decimal
from typing import Final, Union, cast, final

from django.core.exceptions import ValidationError
from django.utils.formats import number_format
from django.utils.functional import lazy
from django.utils.translation import gettext

#: What a message can contain: JSON scalars, other messages, and lists of them. Never a secret.
Value = Union[str, int, float, "Message", Sequence["Value"]]

_TEMPLATES: Final[dict[str, Template]] = {}
# The members of a stored message.
_CODE, _VALUES, _TEXT = "code", "values", "text"


def marked(text: str) -> str:
    """Marks a template for the catalogue. Django's `gettext_noop` needs the settings.

    Imported as `_`, which is the name that the catalogue's program looks for.
    """
    return text


@final
class Template:
    """The English text of a message, with `%(name)s` for each value, and its code.

    Integers are counts, and shown with thousand separators: pass a version or another name as text.

    >>> step = Template("example_step", "step %(number)s: rollout %(old)s → %(new)s %%")
    >>> step(number=2, old=5, new=25)
    'step 2: rollout 5 → 25 %'
    """

    def __init__(self, code: str, text: str, separator: str = ", ") -> None:
        """Registers the code, with which `from_json` finds the template again.

        `separator` is between the items of a list. Raises ValueError if another text has the code
        already.
        """
        self.code = code
        self.text = text
        self.separator = separator
        if _TEMPLATES.setdefault(code, self).text != text:
            raise ValueError(f"two messages have the code {code}; rename one")

    def __call__(self, **values: Value) -> Message:
        """Returns the message. Raises KeyError if the text names a value that is not given."""
        return Message(self, values)


@final
class Message(str):
    """The English text of a message, which knows its code and values.

    A text made from it, such as with an f-string, is plain text: put a message into another one as
    a value.
    """

    __slots__ = ("template", "values")
    template: Template
    values: Mapping[str, Value]

    def __new__(cls, template: Template, values: Mapping[str, Value]) -> Message:
        texts = _texts(values, str, _english_number, template.separator)
        message = super().__new__(cls, template.text % texts)
        message.template, message.values = template, values
        return message

    def __reduce__(self) -> tuple[type[Message], tuple[Template, Mapping[str, Value]]]:
        return Message, (self.template, self.values)

    @property
    def code(self) -> str:
        """The code, such as "plan_step": the same in all languages and versions."""
        return self.template.code


def localized(text: str) -> str:
    """Returns a message in the active language. Other texts are unchanged.

    >>> localized("a text without a code")
    'a text without a code'
    """
    if not isinstance(text, Message):
        return text
    template = text.template
    texts = _texts(text.values, localized, _local_number, template.separator)
    return gettext(template.text) % texts


def lines(texts: Iterable[str]) -> str:
    """Returns texts, at least one, as one text with a line for each."""
    first, *others = texts
    return _LINES(lines=[first, *others]) if others else first


@final
class MessageError(ValidationError):
    """The error of a form or a model. Shows its message in the reader's language."""

    def __init__(self, text: Message) -> None:
        super().__init__(lazy(localized, str)(text), code=text.code)
        self.text = text


def text_of(errors: Iterable[ValidationError]) -> str:
    """Returns the texts of errors, at least one, in one line. A MessageError has a message."""
    first, *others = (
        one.text if isinstance(one, MessageError) else " ".join(one.messages) for one in errors
    )
    return _SENTENCES(sentences=[first, *others]) if others else first


def to_json(text: str) -> dict[str, object]:
    """Returns a message as an object for JSON, with its English text. A text has no code.

    >>> to_json("a text")
    {'text': 'a text'}
    """
    if not isinstance(text, Message):
        return {_TEXT: text}
    values = {name: _value_to_json(value) for name, value in text.values.items()}
    return {_CODE: text.code, _VALUES: values, _TEXT: str(text)}


def from_json(stored: object) -> str:
    """Returns the message that `to_json` has stored.

    It is a plain text if this version does not know the code or the values.
    """
    members = cast("Mapping[str, object]", stored) if isinstance(stored, dict) else {}
    text = str(members.get(_TEXT, ""))
    template = _TEMPLATES.get(str(members.get(_CODE)))
    values = members.get(_VALUES)
    if template is None or not isinstance(values, dict):
        return text
    try:
        return Message(template, {name: _value_from_json(one) for name, one in values.items()})
    except (KeyError, TypeError, ValueError):
        return text


_LINES: Final = Template("lines", "%(lines)s", separator="\n")
_SENTENCES: Final = Template("sentences", "%(sentences)s", separator=" ")


def _texts(
    values: Mapping[str, Value],
    as_text: Callable[[str], str],
    number: Callable[[float], str],
    separator: str,
) -> dict[str, str]:
    def text(value: Value) -> str:
        if isinstance(value, str):
            return as_text(value)
        if isinstance(value, int | float):
            return number(value)
        return separator.join(map(text, value))

    return {name: text(value) for name, value in values.items()}


def _english_number(value: float) -> str:
    return f"{value:,}"


def _local_number(value: float) -> str:
    return number_format(Decimal(repr(value)), use_l10n=True, force_grouping=True)


def _value_to_json(value: Value) -> object:
    if isinstance(value, Message):
        return to_json(value)
    if isinstance(value, str | int | float):
        return value
    return [_value_to_json(one) for one in value]


def _value_from_json(value: object) -> Value:
    if isinstance(value, dict):
        return from_json(value)
    if isinstance(value, list):
        return [_value_from_json(one) for one in value]
    return cast("Value", value)
