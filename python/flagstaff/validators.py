"""Validation of keys, rollouts, units, rules, conditions of segments, tags, and choices."""

from __future__ import annotations

import json
import re
import unicodedata
from decimal import Decimal
from typing import Any

from django.db.models import Field, JSONField, Model

from flagstaff._words.core_messages import message_of
from flagstaff._words.message import Message, MessageError, Template
from flagstaff._words.message import marked as _
from flagstaff._words.storable import is_storable
from flagstaff._words.value_schema import choices_problem
from flagstaff.conf import BUILT_IN
from flagstaff.exceptions import InvalidChangeError

# The other functions are internal.
__all__ = [
    "KEY_MAX_LENGTH",
    "validate_bucket_by",
    "validate_choices",
    "validate_conditions",
    "validate_flag_key",
    "validate_rules",
    "validate_tags",
]

KEY_MAX_LENGTH = 255
#: The length of the name of an attribute, which workers limit, too.
UNIT_MAX_LENGTH = 100
MAX_PERCENT = 100
OWNER_MAX_LENGTH = 100
_TAG_MAX_LENGTH = 50
_MAX_TAGS = 20

_EMPTY_KEY = Template(
    "empty_key", _('the key is empty; use 1 to 255 characters, such as "new_checkout"')
)
_LONG_KEY = Template(
    "key_too_long",
    _("the key has %(length)s characters; use at most 255, and put more into the description"),
)
_LEADING_HYPHEN = Template(
    "key_with_hyphen",
    _(
        'the key begins with "-", as options of a command do; '
        'begin it with a letter or a digit, such as "new_checkout"'
    ),
)
_FORBIDDEN_CHARACTER = Template(
    "key_with_forbidden_character",
    _(
        "the key has %(kind)s at position %(position)s; "
        'use letters, digits, "_", "-" or ".", such as "new_checkout"'
    ),
)
_COLON = Template("character_colon", _('a ":"'))
_WHITE_SPACE = Template("character_white_space", _("white space"))
_CONTROL = Template("character_control", _("a control character"))
_INVISIBLE = Template("character_invisible", _("an invisible character"))
_CHARACTER = Template("character_other", _('the character "%(character)s"'))

_USABLE_UNITS = Template(
    "usable_units",
    _('use "user", "visitor", or the name of an attribute, such as "organization"'),
)
_UNIT_NO_TEXT = Template("unit_no_text", _("the bucketing unit is not a text; %(use)s"))
_EMPTY_UNIT = Template("empty_unit", _("the bucketing unit is empty; %(use)s"))
_LONG_UNIT = Template(
    "unit_too_long",
    _(
        "the bucketing unit has %(length)s characters; use at most 100, and pass the attribute "
        "under a shorter name"
    ),
)
_UNIT_WITH_SPACE = Template(
    "unit_with_white_space", _("the bucketing unit starts or ends with white space; remove it")
)
_UNIT_NOT_STORABLE = Template(
    "unit_not_storable",
    _("the bucketing unit contains a character that PostgreSQL cannot store; %(use)s"),
)
_BUILT_IN_UNIT = Template(
    "built_in_unit",
    _('"%(unit)s" cannot be the bucketing unit, because it is built in; %(use)s'),
)

_TAGS_NO_LIST = Template(
    "tags_no_list",
    _('the tags are not a list; write a list of texts, such as ["checkout", "mobile"]'),
)
_TOO_MANY_TAGS = Template(
    "too_many_tags",
    _("there are %(count)s tags; use at most 20, and put the others into the description"),
)
_TAG_NO_TEXT = Template("tag_no_text", _("tag %(number)s is not a text; put it in double quotes"))
_EMPTY_TAG = Template("empty_tag", _("tag %(number)s is empty; remove it"))
_LONG_TAG = Template(
    "tag_too_long",
    _(
        "tag %(number)s has %(length)s characters; use at most 50, and put more into the "
        "description"
    ),
)
_TAG_WITH_COMMA = Template(
    "tag_with_comma", _('the tag "%(tag)s" contains a comma; write two tags')
)
_TAG_WITH_SPACE = Template(
    "tag_with_white_space", _('the tag "%(tag)s" starts or ends with white space; remove it')
)
_TAG_WITH_CONTROL = Template(
    "tag_with_control_character", _("tag %(number)s contains a control character; remove it")
)
_DUPLICATE_TAG = Template("duplicate_tag", _('the tag "%(tag)s" is given twice; remove one'))

_TOO_DEEP = Template("rules_too_deep", _("this is nested too deeply; write a JSON list of objects"))
_OTHER_TYPE = Template(
    "rules_of_other_type",
    _("this is not JSON: %(error)s; use lists, objects, texts, numbers and bools only"),
)
_OTHER_VALUE = Template(
    "rules_of_other_value",
    _(
        "this is not JSON: it has NaN, an infinity, a number of more than 4,300 digits, or a "
        "list that contains itself; remove it"
    ),
)
_WRONG_ROLLOUT = Template(
    "wrong_rollout", _("the rollout percent must be a whole number from 0 to 100, not %(value)s")
)

_STRING_OR_EXPONENT = re.compile(r'"(?:[^"\\]|\\.)*"|(?P<number>-?[0-9]+(?:\.[0-9]+)?e[-+][0-9]+)')


def validate_flag_key(key: str) -> None:
    """Raises ValidationError unless the key is valid.

    A key has 1 to 255 letters, digits, "_", "-" or ".", and does not begin with "-". With a ":",
    two pairs of key and user could have the same hash input; options of commands begin with "-".
    """
    _refuse(key_problem(key))


def key_problem(key: str) -> Message | None:
    """Returns why a flag or a value cannot have this key, or None."""
    if not key:
        return _EMPTY_KEY()
    if len(key) > KEY_MAX_LENGTH:
        return _LONG_KEY(length=len(key))
    if key.startswith("-"):
        return _LEADING_HYPHEN()
    for position, character in enumerate(key, start=1):
        if kind := _forbidden_kind(character):
            return _FORBIDDEN_CHARACTER(kind=kind, position=str(position))
    return None


def is_valid_flag_key(key: str) -> bool:
    """Whether `validate_flag_key` accepts the key."""
    return key_problem(key) is None


def validate_bucket_by(unit: object) -> None:
    """Raises ValidationError unless a flag can be bucketed by this unit.

    A unit is "user", "visitor", or the name of an attribute that is not built in: of 1 to 100
    characters, without white space at its ends.
    """
    _refuse(unit_problem(unit))


def unit_problem(unit: object) -> Message | None:
    """Returns why a flag cannot be bucketed by this unit, or None."""
    if not isinstance(unit, str):
        return _UNIT_NO_TEXT(use=_USABLE_UNITS())
    if not unit:
        return _EMPTY_UNIT(use=_USABLE_UNITS())
    if len(unit) > UNIT_MAX_LENGTH:
        return _LONG_UNIT(length=len(unit))
    if unit != unit.strip():
        return _UNIT_WITH_SPACE()
    if not is_storable(unit):
        return _UNIT_NOT_STORABLE(use=_USABLE_UNITS())
    return _BUILT_IN_UNIT(unit=unit, use=_USABLE_UNITS()) if unit in BUILT_IN else None


def validate_tags(tags: object) -> None:
    """Raises ValidationError unless these are the tags of a flag: a list of at most 20 texts.

    A tag has 1 to 50 characters, no comma, no control character, and no white space at its ends.
    No tag is given twice.
    """
    _refuse(tags_problem(tags))


def tags_problem(tags: object) -> Message | None:
    """Returns why a flag cannot have these tags, or None."""
    if not isinstance(tags, list):
        return _TAGS_NO_LIST()
    if len(tags) > _MAX_TAGS:
        return _TOO_MANY_TAGS(count=len(tags))
    problems = (_tag_problem(tag, index + 1, tags[:index]) for index, tag in enumerate(tags))
    return next(filter(None, problems), None)


def _tag_problem(  # noqa: PLR0911 (one for each problem)
    tag: object, number: int, earlier: list[object]
) -> Message | None:
    if not isinstance(tag, str):
        return _TAG_NO_TEXT(number=str(number))
    if not tag:
        return _EMPTY_TAG(number=str(number))
    if len(tag) > _TAG_MAX_LENGTH:
        return _LONG_TAG(number=str(number), length=len(tag))
    if "," in tag:
        return _TAG_WITH_COMMA(tag=tag)
    if tag != tag.strip():
        return _TAG_WITH_SPACE(tag=tag)
    if not is_storable(tag) or any(unicodedata.category(one) == "Cc" for one in tag):
        return _TAG_WITH_CONTROL(number=str(number))
    return _DUPLICATE_TAG(tag=tag) if tag in earlier else None


def validate_choices(choices: object) -> None:
    """Raises ValidationError unless these can be the choices of a value.

    Choices are a list of different strings, numbers and booleans.
    """
    _refuse(choices_problem(choices))


def validate_rules(rules: object) -> None:
    """Raises ValidationError unless workers can read these rules of a flag."""
    _refuse(rule_problem(rules))


def validate_value_rules(rules: object) -> None:
    """Raises ValidationError unless workers can read these rules of a value."""
    _refuse(value_rule_problem(rules))


def rules_field(model: type[Model]) -> Field[Any, Any] | None:
    """Returns the field with the rules of a model's values; None for a project's other field."""
    for field in model._meta.local_concrete_fields:
        is_json = field.name == "rules" and isinstance(field, JSONField)
        if is_json and validate_value_rules in field.validators:
            return field
    return None


def validate_conditions(conditions: object) -> None:
    """Raises ValidationError unless workers can read these conditions of a segment."""
    _refuse(condition_problem(conditions))


def rule_problem(rules: object) -> Message | None:
    """Returns why workers could not read these rules: their first problem, or None."""
    return _problem("check_rules", rules)


def value_rule_problem(rules: object) -> Message | None:
    """Returns why workers could not read these rules of a value: their first problem, or None."""
    return _problem("check_value_rules", rules)


def condition_problem(conditions: object) -> Message | None:
    """Returns why workers could not read these conditions of a segment, or None."""
    return _problem("check_conditions", conditions)


def _refuse(problem: Message | None) -> None:
    if problem is not None:
        raise MessageError(problem)


def _problem(check: str, value: object) -> Message | None:
    """Asks the parser of the workers, which alone decides what they can read."""
    # Imported here, because the extension imports this package.
    from flagstaff import _core  # noqa: PLC0415

    try:
        text = _stored_text(value)
    except RecursionError:
        return _TOO_DEEP()
    except TypeError as error:
        return _OTHER_TYPE(error=str(error))
    except ValueError:
        return _OTHER_VALUE()
    problem = getattr(_core, check)(text)
    return None if problem is None else message_of(problem)


def _stored_text(value: object) -> str:
    """Returns the text that PostgreSQL returns for this JSON, but for the order of members.

    The limits apply to it: PostgreSQL writes numbers without an exponent.
    """
    text = json.dumps(value, ensure_ascii=False, allow_nan=False)
    try:
        text.encode()
    except UnicodeEncodeError:  # Rust reads half of a surrogate pair only as an escape.
        text = json.dumps(value)
    return _STRING_OR_EXPONENT.sub(_without_exponent, text)


def _without_exponent(found: re.Match[str]) -> str:
    number = found["number"]
    return found[0] if number is None else f"{Decimal(number):f}"


def is_percent(number: object) -> bool:
    """Whether `number` is an int from 0 to 100. A bool is not a percentage."""
    return type(number) is int and 0 <= number <= MAX_PERCENT


def require_percent(number: object) -> None:
    """Raises InvalidChangeError unless `number` is an int from 0 to 100."""
    if not is_percent(number):
        raise InvalidChangeError(_WRONG_ROLLOUT(value=repr(number)))


def _forbidden_kind(character: str) -> Message | None:
    if character.isalnum() or character in "_-.":
        return None
    if character == ":":
        return _COLON()
    if character.isspace():
        return _WHITE_SPACE()
    if unicodedata.category(character) == "Cc":
        return _CONTROL()
    if not character.isprintable():
        return _INVISIBLE()
    return _CHARACTER(character=character)
