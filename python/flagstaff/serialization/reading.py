"""Reads a text into a document, and collects its problems."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from flagstaff._stored_value_rules import CHOICES, TYPE
from flagstaff._tables.flag_model import NOUNS, OptionalFields
from flagstaff._words.storable import is_storable
from flagstaff.changes.allowed_users import ALLOWED
from flagstaff.exceptions import DocumentError
from flagstaff.history.kinds import Kind
from flagstaff.serialization.document import FORMAT_VERSION, SECTIONS, Document, Item, UserRef
from flagstaff.serialization.fields import exported_fields, parse
from flagstaff.serialization.formats import Format, as_tree
from flagstaff.serialization.problems import Path, Problem, Problems

_HEADER, _PARTIAL, _VERSION = "flagstaff", "partial", "version"


def _lacking(things: str, name: str) -> str:
    return (
        f"the flag model of this project has no column for {things}; add the field, or remove "
        f"{name} from the file"
    )


_NO_RULES = (
    "the value model of this project has no column for types and choices; add the fields, or "
    "remove type and choices from the file"
)
# Optional fields of a model: what a row of a model without the field has, and the problem of any
# other value.
_OPTIONAL_OF_FLAGS: dict[str, tuple[object, str]] = {
    name: (getattr(OptionalFields(), name), _lacking(noun, name)) for name, noun in NOUNS.items()
}
_OPTIONAL: dict[Kind, dict[str, tuple[object, str]]] = {
    Kind.FLAG: _OPTIONAL_OF_FLAGS,
    Kind.VALUE: {TYPE: ("", _NO_RULES), CHOICES: ([], _NO_RULES)},
    Kind.SEGMENT: {},
}

_Mapping = dict[str, Any]


def read(text: str, format: Format) -> Document:  # noqa: A002 (the name of the option)
    """Returns the document of a text. Queries nothing.

    Raises DocumentError if the text cannot be parsed. Other problems are in `problems`; `diff` and
    `apply` raise them together with those that need the database.
    """
    problems = Problems()
    tree = _checked_tree(as_tree(text, format, problems), problems)
    for name in tree:
        if name not in (_HEADER, _PARTIAL, *SECTIONS.values()):
            problems.add((name,), "is not part of this format")
    kinds = [kind for kind, name in SECTIONS.items() if name in tree]
    items = [item for kind in kinds for item in _items(kind, tree, problems)]
    partial = tree.get(_PARTIAL, False)
    if not isinstance(partial, bool):
        problems.add((_PARTIAL,), "must be true or false")
    return Document(tuple(items), frozenset(kinds), partial is not False, problems)


def _checked_tree(tree: object, problems: Problems) -> _Mapping:
    """Returns the tree. Raises DocumentError if its header is missing or has another version."""
    number = tree.get(_HEADER) if isinstance(tree, dict) else None
    if isinstance(tree, dict) and type(number) is int and number == FORMAT_VERSION:
        return tree
    if type(number) is int and number > FORMAT_VERSION:
        text = (
            f"the file has format version {number}, but this flagstaff reads only version "
            f"{FORMAT_VERSION}"
        )
    else:
        text = (
            f'not an export of flagstaff: "{_HEADER}: {FORMAT_VERSION}" is missing at the top level'
        )
    raise DocumentError([*problems.found, Problem((), text)])


def _items(kind: Kind, tree: _Mapping, problems: Problems) -> Iterator[Item]:
    name = SECTIONS[kind]
    section = tree[name]
    if section is None:
        return
    if not isinstance(section, dict):
        problems.add((name,), "must be a mapping of keys to fields")
        return
    for key, fields in section.items():
        if not is_storable(key):
            continue
        if isinstance(fields, dict):
            yield _item(kind, key, fields, problems)
        else:
            problems.add_first((name, key), "must be a mapping of fields to values")


def _item(kind: Kind, key: str, data: _Mapping, problems: Problems) -> Item:
    path: Path = (SECTIONS[kind], key)
    model_fields, fields = exported_fields(kind), {}
    for name, value in data.items():
        if problems.exists_at((*path, name)):
            continue
        if name in model_fields:
            try:
                parse(model_fields[name], value)
            except ValueError as error:
                problems.add((*path, name), str(error))
            else:
                fields[name] = value
        elif name in _OPTIONAL[kind]:
            # The file of a project with the field: its default is the same here.
            default, problem = _OPTIONAL[kind][name]
            if value != default:
                problems.add((*path, name), problem)
        elif name != _VERSION and not (name == ALLOWED and kind is Kind.FLAG):
            problems.add((*path, name), f"a {kind.value} has no such field")
    has_users = kind is Kind.FLAG and ALLOWED in data
    users = _users((*path, ALLOWED), data[ALLOWED], problems) if has_users else None
    return Item(kind, key, fields, users, _version(path, data, problems))


def _version(path: Path, data: _Mapping, problems: Problems) -> int | None:
    version = data.get(_VERSION)
    if type(version) is int and version >= 0:
        return version
    if _VERSION in data:
        problems.add((*path, _VERSION), "must be an integer, as `export --versions` writes it")
    return None


def _users(path: Path, data: object, problems: Problems) -> tuple[UserRef, ...] | None:
    if not isinstance(data, list):
        problems.add_first(path, "must be a list of users")
        return None
    refs: dict[UserRef, None] = {}
    for index, user in enumerate(data):
        if problems.exists_at((*path, index)):
            continue
        ref = _user(user)
        if ref is None:
            expected = "must be a username, or a primary key such as {pk: 42}"
            problems.add((*path, index), expected)
        elif ref in refs:
            problems.add((*path, index), f"lists {ref} twice")
        else:
            refs[ref] = None
    return tuple(refs)


def _user(data: object) -> UserRef | None:
    if isinstance(data, str):
        return UserRef(name=data) if data else None
    pk: object = data["pk"] if isinstance(data, dict) and set(data) == {"pk"} else data
    if isinstance(pk, bool) or not isinstance(pk, int | str) or pk == "":
        return None
    return UserRef(pk=pk)
