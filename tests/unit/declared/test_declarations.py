"""Flags and values that code declares: what they are, and what is refused at import."""

import copy
import enum
import pickle
from collections.abc import Callable
from datetime import date, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from django.core.exceptions import ImproperlyConfigured
from django.core.validators import MaxValueValidator
from django.template import Context, Template

from flagstaff import Flag, Value
from flagstaff._declared import DECLARED, discover
from flagstaff.changes.fields import command_line, quoted_command
from flagstaff.exceptions import DeclarationError
from flagstaff.validators import key_problem


class Plan(enum.Enum):
    FREE = "free"
    PAID = "paid"


@pytest.fixture
def new_checkout() -> Flag:
    return Flag("new_checkout", "Checkout on one page", owner="payments", tags=["checkout"])


def test_declared_flag_is_its_key(new_checkout: Flag) -> None:
    assert new_checkout == "new_checkout"
    assert {"new_checkout": 1}[new_checkout] == 1
    assert f"{new_checkout} {new_checkout!s}" == "new_checkout new_checkout"


def test_declared_flag_knows_its_texts_and_its_place() -> None:
    flag = Flag("x", "Checkout", tags=["a"], kind="ops", review_on="2027-03-01")
    assert (flag.description, flag.tags, flag.kind) == ("Checkout", ("a",), "ops")
    assert flag.review_on == date(2027, 3, 1)
    assert flag.place.path == "tests/unit/declared/test_declarations.py"


def test_declared_key_pickles_as_plain_text(new_checkout: Flag) -> None:
    unpickled = pickle.loads(pickle.dumps(new_checkout))
    assert type(unpickled) is str
    assert unpickled == "new_checkout"


def test_copy_of_declared_key_is_itself(new_checkout: Flag) -> None:
    assert copy.copy(new_checkout) is copy.deepcopy(new_checkout) is new_checkout


def test_declared_key_does_not_change(new_checkout: Flag) -> None:
    with pytest.raises(AttributeError, match="owner cannot change"):
        new_checkout.owner = "search"


USES: dict[str, Callable[[Any], object]] = {
    "bool": bool,
    "not": lambda key: not key,
    "iteration": list,
    "in": lambda key: "a" in key,
    "sum": lambda key: key + "a",
    "sum on the right": lambda key: "a" + key,
    "product": lambda key: key * 2,
    "product on the right": lambda key: 2 * key,
    "remainder": lambda key: key % 2,
    "bare in a template": lambda key: Template("{{ key }}").render(Context({"key": key})),
    "if in a template": lambda key: Template("{% if key %}{% endif %}").render(
        Context({"key": key})
    ),
}


@pytest.mark.parametrize("use", USES.values(), ids=USES)
def test_key_in_the_place_of_its_result_raises_type_error(use: Callable[[Any], object]) -> None:
    with pytest.raises(TypeError, match=r"write PAGE_SIZE\.get\(\)"):
        use(Value("page_size", 20))


def test_nothing_of_a_declared_key_can_be_deleted(new_checkout: Flag) -> None:
    with pytest.raises(AttributeError, match="owner cannot change"):
        del new_checkout.owner


def other(argument: Any) -> Any:
    """Returns an argument that type checkers refuse."""
    return argument


WRONG: dict[str, tuple[Callable[[], object], str]] = {
    "key": (lambda: Flag("new checkout"), "at position 4"),
    "key that is no text": (lambda: Flag(other(3)), "key must be of the type str, not int"),
    "description that is no text": (
        lambda: Flag("x", other(None)),
        "description must be of the type str, not NoneType",
    ),
    "description that PostgreSQL cannot store": (
        lambda: Flag("x", "a\0"),
        "description contains a NUL",
    ),
    "owner that PostgreSQL cannot store": (
        lambda: Flag("x", owner="a\ud800"),
        "owner contains .* half of a surrogate pair",
    ),
    "long owner": (lambda: Flag("x", owner="a" * 101), "the owner has 101 characters"),
    "tags that are one text": (
        lambda: Flag("x", tags="web"),
        "tags must be of the type list, not str",
    ),
    "word in the place of a boolean": (
        lambda: Flag("x", client_side=other("yes")),
        "client_side must be of the type bool, not str",
    ),
    "tags": (lambda: Flag("x", tags=["a", "a"]), "tag"),
    "kind": (lambda: Flag("x", kind="other"), "release, ops, permission"),  # type: ignore[arg-type]
    "day": (lambda: Flag("x", review_on="tomorrow"), "review_on"),
    "day that the month does not have": (
        lambda: Flag("x", review_on="2027-02-30"),
        "review_on is not a date",
    ),
    "time in the place of a day": (
        lambda: Flag("x", review_on=datetime(2027, 3, 1)),  # noqa: DTZ001
        "review_on is not a date",
    ),
    "unit": (lambda: Flag("x", bucket_by=""), "bucketing unit is empty"),
    "type": (lambda: Value("x", {1}), "a value cannot be set"),
    "default of another type": (lambda: Value("x", 1, type=str), "1 is not of the type str"),
    "boolean as a number": (lambda: Value("x", True, type=int), "True is not of the type int"),
    "default that is no choice": (
        lambda: Value("x", "a", choices=["b"]),
        "the default: the value is not one of the declared choices",
    ),
    "choice of another type": (lambda: Value("x", "a", choices=["a", 1]), "1 is not of the type"),
    "bound": (lambda: Value("x", 9, validators=[MaxValueValidator(5)]), "less than or equal to 5"),
    "default that JSON cannot store": (lambda: Value("x", [{1}]), "JSON"),
    "default that workers cannot read": (lambda: Value("x", Decimal("NaN")), "a decimal such as"),
    "None without a type": (lambda: Value("x", other(None)), "such as type=str"),
    "None where it is refused": (
        lambda: Value("x", other(None), type=int, null=False),
        "None is not of the type int",
    ),
    "type that is no class": (
        lambda: Value("x", 1, type=other("int")),
        "type must be of the type type, not str",
    ),
    "choices that are one text": (
        lambda: Value("x", "a", choices="ab"),
        "choices must be of the type list, not str",
    ),
    "choice that PostgreSQL cannot store": (
        lambda: Value("x", "a", choices=["a", "b\0"]),
        "the choices: contains a NUL",
    ),
    "validator that is no function": (
        lambda: Value("x", 1, validators=other([5])),
        "a validator is not a function",
    ),
    "validator of another type": (
        lambda: Value("x", "a", validators=[MaxValueValidator(5)]),
        "the default: a validator fails with TypeError",
    ),
    "secret for browsers": (
        lambda: Value("x", "a", secret=True, client_side=True),
        "a secret value cannot be client side",
    ),
}


@pytest.mark.parametrize(("declare", "message"), WRONG.values(), ids=WRONG)
def test_wrong_declaration_is_refused_with_its_place(
    declare: Callable[[], object], message: str
) -> None:
    before = dict(DECLARED)
    with pytest.raises(DeclarationError, match=rf"test_declarations.py:\d+: .*{message}"):
        declare()
    assert before == DECLARED


@pytest.mark.usefixtures("new_checkout")
def test_key_that_is_declared_twice_names_both_places() -> None:
    with pytest.raises(DeclarationError, match=r"declarations\.py:\d+ and in .*declarations"):
        Value("new_checkout", 1)


def test_key_can_be_declared_again_in_the_same_place() -> None:
    first, second = (Flag("new_checkout") for _ in range(2))
    assert first is not second


@pytest.mark.parametrize(
    ("declare", "is_nullable"),
    [
        (lambda: Value("x", None, type=int), True),
        (lambda: Value("x", 1), False),
        (lambda: Value("x", 1, null=True), True),
        (lambda: Value("x", 1, null=False), False),
    ],
    ids=["None", "number", "number or None", "never None"],
)
def test_default_decides_about_null_where_the_declaration_does_not(
    declare: Callable[[], Value[Any]], is_nullable: bool
) -> None:
    assert declare().null is is_nullable


STORED: dict[type, tuple[object, object]] = {
    bool: (True, True),
    int: (20, 20),
    float: (2.5, 2.5),
    str: ("stripe", "stripe"),
    list: ([1], [1]),
    dict: ({"a": 1}, {"a": 1}),
    Decimal: (Decimal("4.90"), "4.90"),
    date: (date(2027, 3, 1), "2027-03-01"),
    datetime: (datetime(2027, 3, 1, 12, 30), "2027-03-01T12:30:00"),  # noqa: DTZ001
    timedelta: (timedelta(days=1, minutes=5), "1 00:05:00"),
    Plan: (Plan.PAID, "paid"),
}


@pytest.mark.parametrize(("default", "stored"), STORED.values(), ids=str)
def test_type_is_stored_as_json_and_read_from_it(default: object, stored: object) -> None:
    value = Value("x", default)
    assert value.to_json(default) == stored
    assert value.from_json(stored) == default
    assert type(value.from_json(stored)) is type(default)


def test_choices_of_an_enum_are_its_members() -> None:
    assert Value("plan", Plan.FREE).schema.choices == ["free", "paid"]


def module_of_app(
    text: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, settings: Any
) -> None:
    """Installs an app with this `flags.py`."""
    app = tmp_path / "declaring"
    app.mkdir()
    (app / "__init__.py").touch()
    (app / "flags.py").write_text(text)
    monkeypatch.syspath_prepend(str(tmp_path))
    import sys

    for name in ("declaring", "declaring.flags"):
        monkeypatch.delitem(sys.modules, name, raising=False)
    settings.INSTALLED_APPS = [*settings.INSTALLED_APPS, "declaring"]


def test_flags_of_an_app_are_found(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, settings: Any
) -> None:
    text = "from flagstaff import Flag\nX = Flag('of_app')\n"
    module_of_app(text, monkeypatch, tmp_path, settings)
    discover()
    assert str(DECLARED["of_app"].place) == "declaring/flags.py:2"


def test_error_in_flags_of_an_app_names_the_file(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, settings: Any
) -> None:
    text = "from flagstaff import Flag\nimport missing_module\n"
    with pytest.raises(ImproperlyConfigured, match=r"declaring/flags\.py cannot .*missing_module"):
        module_of_app(text, monkeypatch, tmp_path, settings)


def test_foreign_flags_module_that_cannot_be_imported_is_ignored(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, settings: Any
) -> None:
    module_of_app("import missing_module\n", monkeypatch, tmp_path, settings)
    discover()


def test_command_in_a_message_has_the_text_of_the_key() -> None:
    key = Flag("new_checkout")
    assert quoted_command("history", key) == '"manage.py flags history new_checkout"'
    assert command_line("undo", key, "7") == "python manage.py flags undo new_checkout 7"


def test_declared_key_is_a_valid_key() -> None:
    assert key_problem(Flag("new_checkout")) is None
