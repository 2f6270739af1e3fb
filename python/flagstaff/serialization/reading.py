"""Reads a text into a document, and collects its problems."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from flagstaff._stored_value_schema import CHOICES, TYPE
from flagstaff._tables.bucket_units import BUCKET_BY, USER
from flagstaff._tables.optional_fields import OWNER, REVIEW_ON, RULES, TAGS, OptionalFields
from flagstaff._words.text import Text, is_storable, marked
from flagstaff.changes.allowed_users import ALLOWED
from flagstaff.exceptions import DocumentError
from flagstaff.history.kinds import Kind
from flagstaff.serialization.document import FORMAT_VERSION, SECTIONS, Document, Item, UserRef
from flagstaff.serialization.fields import ParseError, exported_fields, parse
from flagstaff.serialization.json_format import loads
from flagstaff.serialization.problems import Path, Problem, Problems

_NO_FIELD = {
    Kind.FLAG: marked("a flag has no such field"),
    Kind.VALUE: marked("a value has no such field"),
    Kind.SEGMENT: marked("a segment has no such field"),
}
_NO_COLUMN = {
    Kind.FLAG: marked(
        "the flag model of this project has no field {name}; add it, or remove it from the file"
    ),
    Kind.VALUE: marked(
        "the value model of this project has no field {name}; add it, or remove it from the file"
    ),
}

_HEADER, _PARTIAL, _VERSION = "flagstaff", "partial", "version"

_OF_FLAGS = RULES, BUCKET_BY, OWNER, TAGS, REVIEW_ON
# Optional fields of a model, and what a row of a model without the field has.
_OPTIONAL: dict[Kind, dict[str, object]] = {
    Kind.FLAG: {name: getattr(OptionalFields(), name) for name in _OF_FLAGS},
    Kind.VALUE: {TYPE: "", CHOICES: [], RULES: [], BUCKET_BY: USER},
    Kind.SEGMENT: {},
}

# Where a file of another tool has its flags, a member that only they have, the tool, and the page
# that helps. A fixture of Django has models in the place of sections.
_HOW_TO = "Files of other tools"
_OTHER_TOOLS = {
    ("waffle.flag", "everyone"): ("django-waffle", "From django-waffle"),
    ("waffle.switch", "active"): ("django-waffle", "From django-waffle"),
    ("waffle.sample", "percent"): ("django-waffle", "From django-waffle"),
    ("flags", "variants"): ("flagd", _HOW_TO),
    ("flags", "variations"): ("LaunchDarkly", _HOW_TO),
    ("items", "variations"): ("LaunchDarkly", _HOW_TO),
    ("features", "defaultValue"): ("GrowthBook", _HOW_TO),
    ("features", "percentage_of_actors"): ("Flipper", _HOW_TO),
    ("features", "name"): ("Unleash", _HOW_TO),
}

_Mapping = dict[str, Any]


def read(text: str) -> Document:
    """Returns the document of a JSON text. Queries nothing.

    Raises DocumentError if the text cannot be parsed. Other problems are in `problems`; `diff` and
    `apply` raise them together with those that need the database.
    """
    problems = Problems()
    tree = _checked_tree(loads(text, problems), problems)
    for name in tree:
        if name not in (_HEADER, _PARTIAL, *SECTIONS.values()):
            problems.add((name,), Text("is not part of this format"))
    kinds = [kind for kind, name in SECTIONS.items() if name in tree]
    items = [item for kind in kinds for item in _items(kind, tree, problems)]
    partial = tree.get(_PARTIAL, False)
    if not isinstance(partial, bool):
        problems.add((_PARTIAL,), Text("must be true or false"))
    return Document(tuple(items), frozenset(kinds), partial is not False, problems)


def _checked_tree(tree: object, problems: Problems) -> _Mapping:
    """Returns the tree. Raises DocumentError if its header is missing or has another version."""
    number = tree.get(_HEADER) if isinstance(tree, dict) else None
    if isinstance(tree, dict) and type(number) is int and number == FORMAT_VERSION:
        return tree
    if type(number) is int and number > FORMAT_VERSION:
        text = Text(
            "the file has format version {number}, but this flagstaff reads only version {known}",
            number=str(number),
            known=str(FORMAT_VERSION),
        )
    else:
        text = _other_tool(tree) or Text(
            'not an export of flagstaff: "{header}" is missing at the top level',
            header=f"{_HEADER}: {FORMAT_VERSION}",
        )
    raise DocumentError([*problems.found, Problem((), text)])


def _other_tool(tree: object) -> Text | None:
    for sign in _signs(tree):
        if sign in _OTHER_TOOLS:
            tool, page = _OTHER_TOOLS[sign]
            return Text(
                'this is a file of {tool}, which has another format; see "{page}" in the '
                "documentation to convert it",
                tool=tool,
                page=page,
            )
    return None


def _signs(tree: object) -> Iterator[tuple[str, str]]:
    """Returns the members of the objects in each section; of a fixture, by model."""
    sections: Iterable[tuple[str, object]] = tree.items() if isinstance(tree, dict) else ()
    if isinstance(tree, list):
        rows = [row for row in tree if isinstance(row, dict)]
        sections = [(str(row.get("model")), [row.get("fields")]) for row in rows]
    for name, section in sections:
        flags = section.values() if isinstance(section, dict) else section
        for flag in flags if isinstance(flags, Iterable) else ():
            if isinstance(flag, dict):
                yield from ((name, member) for member in flag)


def _items(kind: Kind, tree: _Mapping, problems: Problems) -> Iterator[Item]:
    name = SECTIONS[kind]
    section = tree[name]
    if section is None:
        return
    if not isinstance(section, dict):
        problems.add((name,), Text("must be a mapping of keys to fields"))
        return
    for key, fields in section.items():
        if not is_storable(key):
            continue
        if isinstance(fields, dict):
            yield _item(kind, key, fields, problems)
        else:
            problems.add_first((name, key), Text("must be a mapping of fields to values"))


def _item(kind: Kind, key: str, data: _Mapping, problems: Problems) -> Item:
    path: Path = (SECTIONS[kind], key)
    model_fields, fields = exported_fields(kind), {}
    for name, value in data.items():
        if problems.exists_at((*path, name)):
            continue
        if name in model_fields:
            try:
                parse(model_fields[name], value)
            except ParseError as error:
                problems.add((*path, name), error.text)
            else:
                fields[name] = value
        elif name in _OPTIONAL[kind]:
            # The file of a project with the field: its default is the same here.
            if value != _OPTIONAL[kind][name]:
                problems.add((*path, name), Text(_NO_COLUMN[kind], name=name))
        elif name != _VERSION and not (name == ALLOWED and kind is Kind.FLAG):
            problems.add((*path, name), Text(_NO_FIELD[kind]))
    has_users = kind is Kind.FLAG and ALLOWED in data
    users = _users((*path, ALLOWED), data[ALLOWED], problems) if has_users else None
    return Item(kind, key, fields, users, _version(path, data, problems))


def _version(path: Path, data: _Mapping, problems: Problems) -> int | None:
    version = data.get(_VERSION)
    if type(version) is int and version >= 0:
        return version
    if _VERSION in data:
        problems.add(
            (*path, _VERSION), Text("must be an integer, as `export --versions` writes it")
        )
    return None


def _users(path: Path, data: object, problems: Problems) -> tuple[UserRef, ...] | None:
    if not isinstance(data, list):
        problems.add_first(path, Text("must be a list of users"))
        return None
    refs: dict[UserRef, None] = {}
    for index, user in enumerate(data):
        if problems.exists_at((*path, index)):
            continue
        ref = _user(user)
        if ref is None:
            problems.add(
                (*path, index), Text('must be a username, or a primary key such as {"pk": 42}')
            )
        elif ref in refs:
            problems.add((*path, index), Text("lists {user} twice", user=str(ref)))
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
