"""Validation of keys, rollouts, units, rules, conditions of segments, tags, and choices."""

from __future__ import annotations

import json
import re
import unicodedata
from collections.abc import Callable, Sequence
from typing import Any, Literal, NamedTuple

from flagstaff._core import check_rules, is_storable, json_problem
from flagstaff._text import Sentence, TextError, say, some
from flagstaff._text.rules import places_of, problem_at
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
#: The bytes of the rules of a row, which workers limit, too, and of a value.
MAX_RULES_BYTES, MAX_VALUE_BYTES = 256 << 10, 1 << 20
OWNER_MAX_LENGTH = 100
_TAG_MAX_LENGTH = 50
_MAX_TAGS = 20

_USABLE_UNITS = say('use "user", "visitor", or the name of an attribute, such as "organization"')
#: What follows the name of a text.
UNSTORABLE = say("contains a NUL character or half of a surrogate pair, which cannot be stored")
# Most keys. A start of a process may declare a thousand.
_PLAIN_KEY = re.compile(rf"[A-Za-z0-9_.][A-Za-z0-9_.-]{{,{KEY_MAX_LENGTH - 1}}}")
# `json.dumps` would make one for each value.
_JSON = json.JSONEncoder(ensure_ascii=False, allow_nan=False)
# The categories Cc and Cs of Unicode.
_CONTROL = re.compile("[\0-\x1f\x7f-\x9f\ud800-\udfff]")
# In JSON, without escaped backslashes.
_UNSTORABLE_ESCAPE = re.compile(r"\\u(?:0000|d[89a-f])")


def validate_flag_key(key: str) -> None:
    """Raises ValidationError unless the key is valid.

    A key has 1 to 255 letters, digits, "_", "-" or ".", and does not begin with "-". With a ":",
    two pairs of key and user could have the same hash input; options of commands begin with "-".
    """
    _refuse(key_problem(key))


def key_problem(key: str) -> Sentence | None:
    """Returns why a flag or a value cannot have this key, or None."""
    key = str(key)  # of a declared key, which has no truth value
    if _PLAIN_KEY.fullmatch(key):
        return None
    if not key:
        return say('the key is empty; use 1 to 255 characters, such as "new_checkout"')
    if len(key) > KEY_MAX_LENGTH:
        return say(
            "the key has {length} characters; use at most 255, and put more into the description",
            length=len(key),
        )
    if key.startswith("-"):
        return say(
            'the key begins with "-", as options of a command do; begin it with a letter or a '
            'digit, such as "new_checkout"'
        )
    for position, character in enumerate(key, start=1):
        if kind := _forbidden_kind(character):
            return say(
                'the key has {kind} at position {position}; use letters, digits, "_", "-" or ".", '
                'such as "new_checkout"',
                kind=kind,
                position=str(position),
            )
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


def unit_problem(unit: object) -> Sentence | None:
    """Returns why a flag cannot be bucketed by this unit, or None."""
    if not isinstance(unit, str):
        return say("the bucketing unit is not a text; {use}", use=say(_USABLE_UNITS))
    if not unit:
        return say("the bucketing unit is empty; {use}", use=say(_USABLE_UNITS))
    if len(unit) > UNIT_MAX_LENGTH:
        return say(
            "the bucketing unit has {length} characters; use at most 100, and pass the attribute "
            "under a shorter name",
            length=len(unit),
        )
    if unit != unit.strip():
        return say("the bucketing unit starts or ends with white space; remove it")
    if not is_storable(unit):
        return say(
            "the bucketing unit contains a character that PostgreSQL cannot store; {use}",
            use=say(_USABLE_UNITS),
        )
    return (
        say(
            '"{unit}" cannot be the bucketing unit, because it is built in; {use}',
            unit=unit,
            use=say(_USABLE_UNITS),
        )
        if unit in BUILT_IN
        else None
    )


def validate_tags(tags: object) -> None:
    """Raises ValidationError unless these are the tags of a flag: a list of at most 20 texts.

    A tag has 1 to 50 characters, no comma, no control character, and no white space at its ends.
    No tag is given twice.
    """
    _refuse(tags_problem(tags))


def owner_problem(owner: str) -> Sentence | None:
    """Returns why a flag cannot have this owner, or None."""
    if len(owner) <= OWNER_MAX_LENGTH:
        return None
    return say("the owner has {length} characters; use at most 100", length=len(owner))


def tags_problem(tags: object) -> Sentence | None:
    """Returns why a flag cannot have these tags, or None."""
    if not isinstance(tags, list):
        return say('the tags are not a list; write a list of texts, such as ["checkout", "mobile"]')
    if len(tags) > _MAX_TAGS:
        return say(
            "there are {count} tags; use at most 20, and put the others into the description",
            count=len(tags),
        )
    for index, tag in enumerate(tags):
        if problem := _tag_problem(tag, index + 1, tags[:index]):
            return problem
    return None


def usable_tags(tags: object) -> list[str]:
    """Returns the tags of a row, or none if SQL has written anything else than a list of texts."""
    return tags if isinstance(tags, list) and tags_problem(tags) is None else []


def joined_tags(tags: object) -> str:
    """Returns the usable tags of a row as one line, with commas."""
    return ", ".join(usable_tags(tags))


def _tag_problem(  # noqa: PLR0911 (one for each problem)
    tag: object, number: int, earlier: list[object]
) -> Sentence | None:
    if not isinstance(tag, str):
        return say("tag {number} is not a text; put it in double quotes", number=str(number))
    if not tag:
        return say("tag {number} is empty; remove it", number=str(number))
    if len(tag) > _TAG_MAX_LENGTH:
        return say(
            "tag {number} has {length} characters; use at most 50, and put more into the "
            "description",
            number=str(number),
            length=len(tag),
        )
    if "," in tag:
        return say('the tag "{tag}" contains a comma; write two tags', tag=tag)
    if tag != tag.strip():
        return say('the tag "{tag}" starts or ends with white space; remove it', tag=tag)
    if _CONTROL.search(tag):
        return say("tag {number} contains a control character; remove it", number=str(number))
    return say('the tag "{tag}" is given twice; remove one', tag=tag) if tag in earlier else None


def validate_choices(choices: object) -> None:
    """Raises ValidationError unless these can be the choices of a value.

    Choices are a list of different strings, numbers and booleans.
    """
    # Their JSON is limited like that of rules, by the database.
    _refuse(choices_problem(choices) or json_problem_of(choices))


def validate_rules(rules: object) -> None:
    """Raises ValidationError unless workers can read these rules of a flag."""
    _refuse(rule_problem(rules))


def validate_text(text: object) -> None:
    """Raises ValidationError unless PostgreSQL can store the text."""
    _refuse(None if is_storable(str(text)) else say(UNSTORABLE))


def validate_value(value: object) -> None:
    """Raises ValidationError unless workers can read this value as JSON of at most 1 MiB."""
    _refuse(stored_problem(value))


def validate_value_rules(rules: object) -> None:
    """Raises ValidationError unless workers can read these rules of a value."""
    _refuse(value_rule_problem(rules))


def validate_conditions(conditions: object) -> None:
    """Raises ValidationError unless workers can read these conditions of a segment."""
    _refuse(condition_problem(conditions))


def rule_problem(rules: object) -> Sentence | None:
    """Returns why workers could not read these rules: their first problem, or None."""
    return _problem("flag", rules)


def value_rule_problem(rules: object) -> Sentence | None:
    """Returns why workers could not read these rules of a value: their first problem, or None."""
    return _problem("value", rules)


def condition_problem(conditions: object) -> Sentence | None:
    """Returns why workers could not read these conditions of a segment, or None."""
    return _problem("segment", conditions)


def stored_problem(value: object) -> Sentence | None:
    """Returns why workers could not read this value, or None."""
    return json_problem_of(value, _problem_of_value)


def _refuse(problem: Sentence | None) -> None:
    if problem is not None:
        raise TextError(problem)


def _problem(kind: Literal["flag", "value", "segment"], value: object) -> Sentence | None:
    """Asks the parser of the workers, which alone decides what they can read."""
    return json_problem_of(value, lambda text: check_rules(text, kind))


def _problem_of_value(text: str) -> Sentence | None:
    if text == "null":
        return say('the value is missing or null; write JSON, such as "stripe", 25 or []')
    if problem := json_problem(text):
        return say("get_value() cannot return this value: it {reason}", reason=problem)
    if len(text.encode()) > MAX_VALUE_BYTES:
        return say("the value has more than 1 MiB; keep large data in a table of your own")
    return None


def json_problem_of(
    value: object, problem_of: Callable[[str], Sentence | None] = lambda _text: None
) -> Sentence | None:
    """Returns why no row can have the value as JSON, or what is wrong with its text, or None."""
    try:
        text = _JSON.encode(value)
    except RecursionError:
        return say("this is nested too deeply; use at most 500 levels")
    except TypeError as error:
        return say(
            "this is not JSON: {error}; use lists, objects, texts, numbers and bools only",
            error=str(error),
        )
    except ValueError:
        return say(
            "this is not JSON: it has NaN, an infinity, a number of more than 4,300 digits, or a "
            "list that contains itself; remove it"
        )
    # Half of a surrogate pair becomes an escape, which Rust can read.
    text = text.encode(errors="backslashreplace").decode()
    is_storable_json = (
        r"\u" not in text or _UNSTORABLE_ESCAPE.search(text.replace(r"\\", "")) is None
    )
    return problem_of(text) or (None if is_storable_json else say(UNSTORABLE))


def is_percent(number: object) -> bool:
    """Whether `number` is an int from 0 to 100. A bool is not a percentage."""
    return type(number) is int and 0 <= number <= MAX_PERCENT


def require_percent(number: object) -> None:
    """Raises InvalidChangeError unless `number` is an int from 0 to 100."""
    if not is_percent(number):
        raise InvalidChangeError(
            "the rollout percent must be a whole number from 0 to 100, not {value}",
            value=repr(number),
        )


def _forbidden_kind(character: str) -> Sentence | None:
    if character.isalnum() or character in "_-.":
        return None
    if character == ":":
        return say('a ":"')
    if character.isspace():
        return say("white space")
    if unicodedata.category(character) == "Cc":
        return say("a control character")
    if not character.isprintable():
        return say("an invisible character")
    return say('the character "{character}"', character=character)


# The schema of a value: its type and its choices, and what of a row breaks it. No database.


#: The types that a schema can name. Each integer is also a number.
TYPES = ("string", "number", "integer", "boolean", "object", "array")
#: With articles, for sentences.
TYPE_LABELS = {
    "string": say("a string"),
    "number": say("a number"),
    "integer": say("an integer"),
    "boolean": say("true or false"),
    "object": say("an object"),
    "array": say("an array"),
    "null": say("null"),
}
_MAX_LENGTH = 80

#: The names of the fields with the schema of a value, and of its own field.
TYPE, CHOICES, VALUE = "type", "choices", "value"
#: The names of the fields that say who may read a value.
SECRET, CLIENT_SIDE = "secret", "client_side"
SECRET_FOR_BROWSERS = say("a secret value cannot be client side; choose one of the two")
#: The fields that are masked of a secret value: what it is, what it may be, which is one of a few,
#: and what its rules give.
SECRET_FIELDS = (VALUE, CHOICES, "rules")


class ValueSchema(NamedTuple):
    """What a value may be."""

    #: One of TYPES; empty for any type.
    type: str = ""
    #: Strings, numbers or booleans; empty for any value of the type.
    choices: Sequence[object] = ()


ANY = ValueSchema()


def type_of(value: object) -> str:
    """Returns the JSON type of a value, as `jsonb_typeof` names it."""
    if isinstance(value, bool):
        return "boolean"
    if isinstance(value, int | float):
        return "number"
    if isinstance(value, str):  # Forms have a subclass.
        return "string"
    if isinstance(value, list | tuple):
        return "array"
    return "null" if value is None else "object"


def value_problem(value: object, schema: ValueSchema, *, secret: bool = False) -> Sentence | None:
    """Returns how a value breaks the schema, or None. Does not contain a secret value."""
    if schema.type and not _has_type(value, schema.type):
        wanted, present = TYPE_LABELS[schema.type], TYPE_LABELS[type_of(value)]
        return say("the value must be {type}, not {present}", type=wanted, present=present)
    if not schema.choices or any(_is_same(value, choice) for choice in schema.choices):
        return None
    if secret:
        return say("the value is not one of its choices")
    allowed = some(map(_text, schema.choices))
    return say("{value} is not one of {allowed}", value=_text(value), allowed=allowed)


def choices_problem(choices: object, value_type: str = "") -> Sentence | None:
    """Returns why this cannot be the choices of values of a type, or None.

    Does not contain a choice: that of a secret value is one of them.
    """
    if not isinstance(choices, list):
        return say('the choices are not a list; write a JSON list, such as ["stripe", "paypal"]')
    earlier: set[tuple[str, object]] = set()
    for number, choice in enumerate(choices, start=1):
        if not isinstance(choice, str | int | float):
            return say(
                "choice {number} is not a string, a number, true or false", number=str(number)
            )
        if value_type and not _has_type(choice, value_type):
            return say(
                "choice {number} must be {type}, because of the type",
                number=str(number),
                type=TYPE_LABELS[value_type],
            )
        # As in `_is_same`, but not in quadratic time.
        if (same := (type_of(choice), choice)) in earlier:
            return say("choice {number} is given twice; remove one", number=str(number))
        earlier.add(same)
    return None


def _has_type(value: object, name: str) -> bool:
    if name == "integer":
        return isinstance(value, int) and not isinstance(value, bool)
    return type_of(value) == name


def _is_same(left: object, right: object) -> bool:
    """Whether PostgreSQL finds both equal: 1 and 1.0 are, 1 and true are not."""
    return type_of(left) == type_of(right) and left == right


def _text(value: object) -> str:
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= _MAX_LENGTH else f"{text[:_MAX_LENGTH]}…"


def is_secret(row: object) -> bool:
    """Whether the row is a secret value: the history does not store what it is."""
    return bool(getattr(row, SECRET, False))


def secret_fields(row: object) -> tuple[str, ...]:
    """Returns the fields of a row that are masked wherever it is shown, exported or recorded."""
    return SECRET_FIELDS if is_secret(row) else ()


def value_schema_of(row: Any) -> ValueSchema:
    """Returns the schema of a value's row."""
    return ValueSchema(row.type, row.choices or ())


def value_schema_problems(row: Any, *, secret: bool | None = None) -> dict[str, Sentence]:
    """Returns what is wrong with the choices, or else with the value and with those of rules.

    And whether a secret is for browsers. A message by field. With `secret`, which is by default
    what the row says, no message contains a value.
    """
    secret = is_secret(row) if secret is None else secret
    problems: dict[str, Sentence | None] = {}
    if is_secret(row) and row.client_side is True:
        problems[CLIENT_SIDE] = say(SECRET_FOR_BROWSERS)
    schema = value_schema_of(row)
    of_choices = choices_problem(schema.choices, schema.type) if schema.choices else None
    if of_choices:
        problems[CHOICES] = of_choices
    # Another type is refused by its own field.
    elif schema != ANY and schema.type in ("", *TYPES):
        is_plain, value = _plain(row.value)
        problems[VALUE] = value_problem(value, schema, secret=secret) if is_plain else None
        problems["rules"] = _rule_problem(row, schema, secret=secret)
    return {name: problem for name, problem in problems.items() if problem is not None}


def _rule_problem(row: Any, schema: ValueSchema, *, secret: bool) -> Sentence | None:
    """Returns how the value of a rule breaks the schema, with the place of the rule, or None."""
    for place, rule in places_of(row.rules):
        # A rule without a value cannot be read: its own field says so. Code decides about null.
        value = rule.get(VALUE)
        if value is not None and (problem := value_problem(value, schema, secret=secret)):
            return problem_at(place, problem)
    return None


def _plain(value: object) -> tuple[bool, object]:
    """Returns the value as JSON has it, and whether there is one."""
    if value is None:
        return False, None
    try:
        return True, json.loads(json.dumps(value))
    except (TypeError, ValueError, RecursionError):
        return False, None
