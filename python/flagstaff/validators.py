"""Validation of keys, rollouts, units, rules, conditions of segments, tags, and choices."""

from __future__ import annotations

import json
import re
import unicodedata
from decimal import Decimal

from django.core.exceptions import ValidationError
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _

from flagstaff._words.rule_problems import rule_problem_text
from flagstaff._words.storable import is_storable
from flagstaff._words.value_rules import choices_problem
from flagstaff.conf.attribute_sources import BUILT_IN
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

_USABLE_UNITS = _('use "user", "visitor", or the name of an attribute, such as "organization"')

_STRING_OR_EXPONENT = re.compile(r'"(?:[^"\\]|\\.)*"|(?P<number>-?[0-9]+(?:\.[0-9]+)?e[-+][0-9]+)')


def validate_flag_key(key: str) -> None:
    """Raises ValidationError unless the key is valid.

    A key has 1 to 255 letters, digits, "_", "-" or ".", and does not begin with "-". With a ":",
    two pairs of key and user could have the same hash input; options of commands begin with "-".
    """
    if not key:
        raise ValidationError(
            _('the key is empty; use 1 to 255 characters, such as "new_checkout"'),
            code="empty",
        )
    if len(key) > KEY_MAX_LENGTH:
        raise ValidationError(
            _("the key has %(length)d characters; use at most 255"),
            code="too_long",
            params={"length": len(key)},
        )
    if key.startswith("-"):
        raise ValidationError(
            _(
                'the key begins with "-", as options of a command do; '
                'begin it with a letter or a digit, such as "new_checkout"'
            ),
            code="leading_hyphen",
        )
    for position, character in enumerate(key, start=1):
        if kind := _forbidden_kind(character):
            raise ValidationError(
                _(
                    "the key has %(kind)s at position %(position)d; "
                    'use letters, digits, "_", "-" or ".", such as "new_checkout"'
                ),
                code="forbidden_character",
                params={"kind": kind, "position": position},
            )


def is_valid_flag_key(key: str) -> bool:
    """Whether `validate_flag_key` accepts the key."""
    try:
        validate_flag_key(key)
    except ValidationError:
        return False
    return True


def validate_bucket_by(unit: object) -> None:
    """Raises ValidationError unless a flag can be bucketed by this unit.

    A unit is "user", "visitor", or the name of an attribute that is not built in: of 1 to 100
    characters, without white space at its ends.
    """
    if not isinstance(unit, str):
        text, code = _("the bucketing unit is not a text; %(use)s"), "wrong_type"
    elif not unit:
        text, code = _("the bucketing unit is empty; %(use)s"), "empty"
    elif len(unit) > UNIT_MAX_LENGTH:
        text, code = _("the bucketing unit has %(length)d characters; use at most 100"), "too_long"
    elif unit != unit.strip():
        text, code = (
            _("the bucketing unit starts or ends with white space; remove it"),
            "white_space",
        )
    elif not is_storable(unit):
        text = _("the bucketing unit contains a character that PostgreSQL cannot store; %(use)s")
        code = "not_storable"
    elif unit in BUILT_IN:
        text = _('"%(unit)s" cannot be the bucketing unit, because it is built in; %(use)s')
        code = "built_in"
    else:
        return
    length = len(unit) if isinstance(unit, str) else 0
    params = {"use": _USABLE_UNITS, "unit": unit, "length": length}
    raise ValidationError(text, code=code, params=params)


def unit_problem(unit: object) -> str | None:
    """Returns why a flag cannot be bucketed by this unit, or None."""
    try:
        validate_bucket_by(unit)
    except ValidationError as error:
        return " ".join(error.messages)
    return None


def validate_tags(tags: object) -> None:
    """Raises ValidationError unless these are the tags of a flag: a list of at most 20 texts.

    A tag has 1 to 50 characters, no comma, no control character, and no white space at its ends.
    No tag is there twice.
    """
    if not isinstance(tags, list):
        raise ValidationError(
            _('the tags are not a list; write a list of texts, such as ["checkout", "mobile"]'),
            code="wrong_type",
        )
    if len(tags) > _MAX_TAGS:
        raise ValidationError(
            _("there are %(count)d tags; use at most 20"),
            code="too_many",
            params={"count": len(tags)},
        )
    for position, tag in enumerate(tags):
        _validate_tag(tag, position + 1, tags[:position])


def tags_problem(tags: object) -> str | None:
    """Returns why a flag cannot have these tags, or None."""
    try:
        validate_tags(tags)
    except ValidationError as error:
        return " ".join(error.messages)
    return None


def _validate_tag(tag: object, number: int, earlier: list[object]) -> None:
    if not isinstance(tag, str):
        text, code = _("tag %(number)d is not a text; put it in double quotes"), "wrong_type"
    elif not tag:
        text, code = _("tag %(number)d is empty; remove it"), "empty"
    elif len(tag) > _TAG_MAX_LENGTH:
        text, code = _("tag %(number)d has %(length)d characters; use at most 50"), "too_long"
    elif "," in tag:
        text, code = _('the tag "%(tag)s" contains a comma; write two tags'), "comma"
    elif tag != tag.strip():
        text = _('the tag "%(tag)s" starts or ends with white space; remove it')
        code = "white_space"
    elif not is_storable(tag) or any(unicodedata.category(one) == "Cc" for one in tag):
        text, code = _("tag %(number)d contains a control character; remove it"), "character"
    elif tag in earlier:
        text, code = _('the tag "%(tag)s" is there twice; remove one'), "twice"
    else:
        return
    length = len(tag) if isinstance(tag, str) else 0
    params = {"number": number, "tag": tag, "length": length}
    raise ValidationError(text, code=code, params=params)


def validate_choices(choices: object) -> None:
    """Raises ValidationError unless these can be the choices of a value.

    Choices are a list of different strings, numbers and booleans.
    """
    _refuse(choices_problem(choices), "invalid_choices")


def validate_rules(rules: object) -> None:
    """Raises ValidationError unless workers can read these rules of a flag."""
    _refuse(rule_problem(rules), "invalid_rules")


def validate_conditions(conditions: object) -> None:
    """Raises ValidationError unless workers can read these conditions of a segment."""
    _refuse(condition_problem(conditions), "invalid_conditions")


def rule_problem(rules: object) -> str | None:
    """Returns why workers could not read these rules: their first problem, or None."""
    return _problem("check_rules", rules)


def condition_problem(conditions: object) -> str | None:
    """Returns why workers could not read these conditions of a segment, or None."""
    return _problem("check_conditions", conditions)


def _refuse(problem: str | None, code: str) -> None:
    if problem is not None:
        # The message is complete: a "%" in it is no placeholder.
        raise ValidationError(rule_problem_text(problem), code=code)


def _problem(check: str, value: object) -> str | None:
    """Asks the parser of the workers, which alone decides what they can read."""
    # Imported here, because the extension imports this package.
    from flagstaff import _core  # noqa: PLC0415

    try:
        text = _stored_text(value)
    except RecursionError:
        return "this is nested too deeply; write a JSON list of objects"
    except TypeError as error:
        return f"this is not JSON: {error}; use lists, objects, texts, numbers and bools only"
    except ValueError:
        return (
            "this is not JSON: it has NaN, an infinity, a number of more than 4,300 digits, or a "
            "list that contains itself; remove it"
        )
    found: str | None = getattr(_core, check)(text)
    return found


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
        raise InvalidChangeError(
            f"the rollout percent must be a whole number from 0 to {MAX_PERCENT}, not {number!r}"
        )


def _forbidden_kind(character: str) -> str | None:
    if character.isalnum() or character in "_-.":
        return None
    if character == ":":
        return gettext('a ":"')
    if character.isspace():
        return gettext("white space")
    if unicodedata.category(character) == "Cc":
        return gettext("a control character")
    if not character.isprintable():
        return gettext("an invisible character")
    return gettext('the character "%(character)s"') % {"character": character}
