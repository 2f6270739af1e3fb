"""Random flags and values with rules, and random users and contexts, by a seed.

Most conditions compare an attribute with values of its own type, so that many of them are true.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import date, datetime, timedelta, timezone
from decimal import Decimal
from enum import Enum, IntEnum
from functools import partial
from random import Random
from typing import Any, TypeVar
from uuid import UUID
from zoneinfo import ZoneInfo

from django.contrib.auth import get_user_model
from django.contrib.auth.models import AnonymousUser
from django.db.models import TextChoices
from django.utils.functional import SimpleLazyObject

from tests.conformance.rules_oracle import MISSING, NEEDS_USER, Flag, Value, exact_json, loads

_T = TypeVar("_T")

ZONE = ZoneInfo("Europe/Berlin")
#: The setting: columns of the user, and a callable. The callable returns a column, too.
ATTRIBUTES = ["first_name", "last_name", "email", f"{__name__}.computed"]
_COLUMNS = ("first_name", "last_name", "email")
_COMPUTED = ("seats", "version", "first_name")
_BUILT_IN = ("is_authenticated", "is_staff", "is_superuser")
_USERS = 40


class _Plan(TextChoices):
    FREE = "free"
    PAID = "paid"


class _Level(IntEnum):
    LOW = 1
    HIGH = 42


class _Colour(Enum):
    RED = "red"


@dataclass(frozen=True)
class _Type:
    """Values of one type, as Python objects and as the values of conditions in JSON."""

    objects: tuple[object, ...]
    values: tuple[str, ...]
    operators: tuple[str, ...]


_TEXTS = ("in", "in", "contains", "startswith", "endswith", "regex")
_ORDER = ("in", "lt", "lte", "gt", "gte")
_NOON = datetime(2026, 3, 1, 12, tzinfo=timezone.utc)
_FOLD = datetime(2026, 10, 25, 2, 30, fold=1, tzinfo=ZONE)
_DATETIMES = (_NOON, _FOLD, _NOON - timedelta(hours=13), datetime(2026, 3, 1, 13))  # noqa: DTZ001
_TEXT_MOMENTS = ("2026-03-01", "2026-03-01 13:00", "2026-03-01T12:00:00Z", "2026-10-25T02:15+01:00")
_MOMENTS = (
    '"2026-03-01T12:00Z"',
    '"2026-03-01 13:00:00"',
    '"2026-03-01T00:00"',
    '"2026-03-01T13:00:00.5+01:00"',
    '"2026-03-01 13:00:00.123456789+0100"',
    '"2026-10-25T02:30"',
    '"2026-10-25T01:15:00z"',
    '"7d"',
)
_NAN = float("nan")
_DECIMALS = (*map(Decimal, ("1.50", "0.1", "42", "NaN", "-Infinity")),)
_TYPES = {
    "text": _Type(
        ("DE", "AT", "de", "", "größe 😀", "free", "42", "true", "red", _Plan.FREE, _Plan.PAID),
        ('"DE"', '"AT"', '"D"', '"e"', '""', '"größe"', '"free"', '"paid"', '"42"', '"true"'),
        _TEXTS,
    ),
    "number": _Type(
        (0, 1, 2, 42, -7, 2**70, 1.5, 2.0, -0.0, _NAN, float("inf"), _Level.HIGH, *_DECIMALS),
        ("0", "1", "2", "42", "1.5", "1.50", "0.1", "-7", str(2**70), '"42"', '"1.5"'),
        _ORDER,
    ),
    "moment": _Type(
        (date(2026, 3, 1), date(2026, 2, 28), date(1969, 12, 31), *_TEXT_MOMENTS, *_DATETIMES),
        ('"2026-03-01"', '"2026-02-28"', '"1970-01-01"', *_MOMENTS),
        _ORDER,
    ),
    "version": _Type(
        ("1", "1.2", "1.2.0", "2.0.0-beta", "2.0.0-beta.2", "2.0.0+build", "v1.2", "01.2", 1.2, 2),
        ('"1"', '"1.2"', '"1.2.1"', '"2.0.0-beta"', '"2.0.0"', '"2.0.0-beta.11"'),
        ("version_eq", "version_lt", "version_lte", "version_gt", "version_gte"),
    ),
    "bool": _Type((True, False), ("true", "false", "1", '"True"'), ("in",)),
    "other": _Type(
        (UUID(int=7), _Colour.RED, timedelta(days=1)),
        ('"00000000-0000-0000-0000-000000000007"', '"_Colour.RED"', '"_Colour"', '"0000"'),
        _TEXTS,
    ),
}
_PATTERNS = ('"^D"', '"[A-C]"', '"^[0-9]+$"', '"e|f"', '"(?i)^de$"', '"ö.e"', '"^$"')
#: The usual type of each attribute.
_ATTRIBUTES = {
    "country": "text",
    "tags": "text",
    "age": "number",
    "joined": "moment",
    "first_name": "text",
    "last_name": "moment",
    "email": "other",
    "seats": "number",
    "version": "version",
    "beta": "bool",
    "is_authenticated": "bool",
    "is_staff": "bool",
    "is_superuser": "bool",
    "groups": "text",
    "visitor": "text",
}
_UNITS = ("visitor", *_ATTRIBUTES, "gone")
_BUCKETS = ("holdout", "flag_1", "value_1")
_BOUNDS = ("0", "0.5", "12.34", "50", "75.0", "99.99", "100")
#: The flags that conditions name: some need others, in circles too. The last one does not exist.
_NEEDED = tuple(f"needed_{i}" for i in range(40))
#: The members of the groups. Rules also name groups that do not exist.
GROUPS = {
    "DE": range(1, 11),
    "AT": range(8, 21),
    "42": range(15, _USERS + 1),
    "free": range(2, _USERS + 1, 3),
    "größe 😀": range(1, 4),
    "": (5,),
}


@dataclass(frozen=True)
class Triple:
    """A flag or a value, a user and contexts, with what they mean for the reference."""

    flag: Any
    user: Any
    #: The contexts of the call and of its snapshot.
    call: dict[str, object] | None
    snapshot: dict[str, object] | None
    pk: str | None
    attributes: Mapping[str, Any]

    @property
    def context(self) -> dict[str, object]:
        """Both contexts as one."""
        return {**(self.snapshot or {}), **(self.call or {})}


User: Any = get_user_model()


def computed(user: Any, request: object) -> dict[str, object]:
    """The callable of ATTRIBUTES."""
    computed: dict[str, object] | None = getattr(user, "computed", None)
    if computed is None:
        raise LookupError
    return computed


def random_flags(random: Random, count: int) -> list[Flag]:
    """Flags with rules, which share segments, and the flags that they need."""
    segments, needed = _shared(random)
    names = [*segments, "gone"]
    flags = [_flag(random, f"flag_{i}", segments, names, needed) for i in range(count)]
    return [*needed.values(), *flags]


def _shared(random: Random) -> tuple[dict[str, Any], dict[str, Flag]]:
    """The segments of all rows, and the flags that they need."""
    segments = {f"segment_{i}": _conditions(random, ()) for i in range(12)}
    needed: dict[str, Flag] = {}
    for key in _NEEDED[:-1]:
        needed[key] = _flag(random, key, segments, [*segments, "gone"], needed)
    return segments, needed


def _flag(
    random: Random, key: str, segments: dict[str, Any], names: list[str], needed: Mapping[str, Flag]
) -> Flag:
    rules = [_rule(random, names) for _ in range(random.choice((1, 1, 2, 3, 5)))]
    allowed = frozenset(str(random.randint(1, _USERS)) for _ in range(random.choice((0, 0, 3))))
    percent = random.choice((0, 0, 30, 50, 100))
    bucket_by = "user" if random.random() < 0.6 else random.choice(_UNITS)
    enabled = random.random() < 0.95
    return Flag(key, enabled, percent, allowed, rules, segments, bucket_by, needed)


#: What a value or a rule of one may give. jsonb keeps them as they are.
_RESULTS: tuple[Any, ...] = (
    0,
    10,
    50,
    -7,
    2**70,
    1.5,
    "",
    "many",
    "größe 😀",
    True,
    False,
    [],
    [1, "a"],
    {"a": {}},
)


def random_values(random: Random, count: int) -> list[Value]:
    """Values with rules, which share segments and need flags."""
    segments, needed = _shared(random)
    names = [*segments, "gone"]
    return [_value_of_rules(random, f"value_{i}", segments, names, needed) for i in range(count)]


def _value_of_rules(
    random: Random, key: str, segments: dict[str, Any], names: list[str], needed: Mapping[str, Flag]
) -> Value:
    count = random.choice((0, 1, 1, 2, 3, 5))
    rules = [_rule(random, names) | {"value": random.choice(_RESULTS)} for _ in range(count)]
    if rules and random.random() < 0.3:
        rules[-1] |= {"conditions": [], "rollout_percent": random.choice((1, 25, 50, 99))}
    bucket_by = "user" if random.random() < 0.6 else random.choice(_UNITS)
    return Value(key, random.choice(_RESULTS), rules, segments, bucket_by, needed)


def _rule(random: Random, segments: list[str]) -> dict[str, Any]:
    rule: dict[str, Any] = {"conditions": _conditions(random, segments)}
    if random.random() < 0.6:
        rule["rollout_percent"] = random.choice((0, 1, 25, 50, 75, 99, 100))
    if random.random() < 0.3:
        rule["name"] = "a rule"
    return rule


def _conditions(random: Random, segments: Any) -> list[dict[str, Any]]:
    return [_condition(random, segments) for _ in range(random.choice((1, 1, 1, 2, 3)))]


def _condition(random: Random, segments: Any) -> dict[str, Any]:
    condition: dict[str, Any] = {}
    if random.random() < 0.12:
        return {"flag": random.choice(_NEEDED), "is": random.random() < 0.5}
    if random.random() < 0.1:
        bounds = loads(f"[{random.choice(_BOUNDS)}]")
        operator = random.choice(("lt", "gte"))
        condition |= {"bucket": random.choice(_BUCKETS), "operator": operator, "values": bounds}
    elif segments and random.random() < 0.25:
        condition["segment"] = random.choice(segments)
    else:
        condition["attribute"] = attribute = random.choice(list(_ATTRIBUTES))
        condition |= _test(random, _type_of(random, attribute))
    if random.random() < 0.3:
        condition["negate"] = random.random() < 0.9
    return condition


def _test(random: Random, values: _Type) -> dict[str, Any]:
    if random.random() < 0.08:
        return {"operator": "isnull", "values": [random.random() < 0.5]}
    operator = random.choice(values.operators)
    pool: tuple[str, ...] = _PATTERNS if operator == "regex" else values.values
    if operator in {*_TEXTS, *_ORDER} - {"in"}:
        pool = tuple(text for text in pool if text not in {"true", "false"})
    if operator in set(_TEXTS) - {"in"}:
        pool = tuple(text for text in pool if text.startswith('"'))
    chosen = [random.choice(pool) for _ in range(random.choice((1, 1, 2, 4)))]
    return {"operator": operator, "values": loads(f"[{', '.join(chosen)}]")}


def _type_of(random: Random, attribute: str) -> _Type:
    unusual = random.random() < 0.1
    return _TYPES[random.choice(list(_TYPES)) if unusual else _ATTRIBUTES[attribute]]


def random_triple(random: Random, flag: Flag | Value) -> Triple:
    """A user and contexts for a flag or a value."""
    call, snapshot = _context(random), _context(random)
    attributes = dict.fromkeys(_ATTRIBUTES, MISSING)
    user, pk, of_user = random.choice(_KINDS)(random)
    known = {**of_user, **(snapshot or {}), **(call or {})}
    # A context cannot set built-in attributes.
    known |= {name: of_user[name] for name in _BUILT_IN}
    known["groups"] = [] if pk is None else [n for n, pks in GROUPS.items() if int(pk) in pks]
    attributes |= {name: _meaning(value) for name, value in known.items()}
    return Triple(flag, user, call, snapshot, pk, attributes)


def _context(random: Random) -> dict[str, object] | None:
    if random.random() < 0.3:
        return None
    share = random.choice((0.2, 0.5, 0.8))
    return {name: _value(random, name) for name in _ATTRIBUTES if random.random() < share}


def _value(random: Random, attribute: str) -> object:
    if random.random() < 0.05:
        return None
    objects = _type_of(random, attribute).objects
    if random.random() < (0.8 if attribute == "tags" else 0.05):
        elements = [random.choice(objects) for _ in range(random.randint(0, 3))]
        elements += [[random.choice(objects)]] * (random.random() < 0.1)
        elements += [None] * (random.random() < 0.1)
        return random.choice((list, tuple))(elements)
    return random.choice(objects)


_Subject = tuple[Any, str | None, dict[str, Any]]


def _anonymous(make: Callable[[], Any], _random: Random) -> _Subject:
    return make(), None, dict.fromkeys(_BUILT_IN, False)


def _unsaved(random: Random) -> _Subject:
    user, _, _ = _object(random)
    user.pk = user.id = None
    return user, None, dict.fromkeys(_BUILT_IN, False)


def _bare(convert: Callable[[int], Any], random: Random) -> _Subject:
    pk = random.randint(1, _USERS)
    needed = dict.fromkeys([*_ATTRIBUTES, *_BUILT_IN], NEEDS_USER)
    return convert(pk), str(pk), {**needed, "is_authenticated": True, "visitor": MISSING}


def _object(random: Random) -> _Subject:
    pk = random.randint(1, _USERS)
    is_staff, is_superuser = random.choice(((False, False), (True, False), (True, True)))
    user = User(pk=pk, is_staff=is_staff, is_superuser=is_superuser)
    drawn: dict[str, Any] = {}
    if random.random() < 0.9:
        user.computed = {name: _value(random, name) for name in _COMPUTED}
        drawn |= user.computed
    for name in _COLUMNS:
        drawn[name] = value = _value(random, name)
        setattr(user, name, value)
        if random.random() < 0.1:
            # As for a deferred field.
            del user.__dict__[name]
            drawn[name] = None
    built_in = {"is_authenticated": True, "is_staff": is_staff, "is_superuser": is_superuser}
    return user, str(pk), {**drawn, **built_in}


def _lazy(random: Random) -> _Subject:
    user, pk, attributes = _object(random)
    return SimpleLazyObject(lambda: user), pk, attributes


_KINDS: tuple[Callable[[Random], _Subject], ...] = (
    *[_object] * 6,
    _lazy,
    partial(_bare, int),
    partial(_bare, str),
    partial(_anonymous, lambda: None),
    partial(_anonymous, AnonymousUser),
    _unsaved,
)


def _meaning(value: Any) -> Any:
    """The value as the reference compares it."""
    if value is None:
        return MISSING
    if value is MISSING or value is NEEDS_USER:
        return value
    if isinstance(value, list | tuple):
        return [_meaning(element) for element in value if element is not None]
    if isinstance(value, datetime):
        return value if value.tzinfo else value.replace(tzinfo=ZONE)
    if isinstance(value, TextChoices | IntEnum):
        return value.value
    known = bool | int | float | Decimal | str | date
    return value if isinstance(value, known) else str(value)


def assert_no_differences(
    triples: list[Triple], outcome: Callable[[Triple], _T], expected: Callable[[Triple], _T]
) -> None:
    """Fails with the first triples whose outcome is not the expected one."""
    outcomes = ((triple, outcome(triple), expected(triple)) for triple in triples)
    differences = [outcome for outcome in outcomes if outcome[1] != outcome[2]]
    shown = [
        f"{result} != {wanted}:\n{_described(triple)}" for triple, result, wanted in differences[:3]
    ]
    assert not differences, "\n\n".join([f"{len(differences)} of {len(triples)}", *shown])


def _described(triple: Triple) -> str:
    """The triple in the message of a failed test."""
    flag = triple.flag
    parts = (exact_json(flag.rules), triple.user, triple.call, triple.snapshot, triple.attributes)
    return "\n".join(map(repr, parts))
