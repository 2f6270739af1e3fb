"""The semantics as rows, asked of memory, of the database, and of the article's code.

`tests/core/conformance.rs` runs the same rows over the Rust core.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from django.contrib.auth import get_user_model
from django.contrib.auth.models import AnonymousUser
from django.db import connection
from django.utils.functional import SimpleLazyObject

from flagstaff import all_flags, explain, flag_enabled, refresh, snapshot
from flagstaff.models import FeatureFlag
from flagstaff.testing import live_engine
from tests.conformance.oracle import Article, as_user

pytestmark = pytest.mark.django_db

User: Any = get_user_model()
USERS = {"AutoField": "integer", "BigAutoField": "bigint", "UUIDField": "uuid", "TextField": "text"}
TYPES: dict[str, Callable[[str], Any]] = {"integer": int, "text": str, "uuid": UUID}
CONSTRAINTS = """
    SELECT quote_ident(conname), pg_get_constraintdef(oid) FROM pg_constraint
    WHERE conrelid = 'flagstaff_featureflag'::regclass AND contype = 'c'
"""


@dataclass(frozen=True)
class Case:
    name: str
    users: str
    flag: dict[str, Any] | None
    key: str
    subject: dict[str, str]
    value: bool
    reason: str
    error_code: str | None
    bucket: int | None

    def store(self) -> None:
        """Write the flag and its users, past what the models allow."""
        if self.flag is None:
            return
        plain = {name: self.flag[name] for name in ("key", "enabled", "rollout_percent")}
        [flag] = FeatureFlag.objects.bulk_create([FeatureFlag(**plain)])
        pks = [User._meta.pk.to_python(pk) for pk in self.flag["allowed"]]
        users = [User(pk=pk, username=f"user {pk}") for pk in pks]
        flag.allowed_users.set(User.objects.bulk_create(users))

    def askers(self) -> list[Any]:
        """Everything that may be passed as the user, for this subject."""
        if self.subject["kind"] == "nobody":
            return [None]
        if self.subject["kind"] == "anonymous":
            return [AnonymousUser(), SimpleLazyObject(AnonymousUser)]
        if self.subject["kind"] == "unsaved":
            return [User(pk=None), SimpleLazyObject(lambda: User(pk=None))]
        pk = TYPES[self.subject["kind"]](self.subject["pk"])
        return [
            pk,
            User(pk=pk),
            SimpleLazyObject(lambda: User(pk=pk)),
            SimpleLazyObject(lambda: pk),
        ]


ROWS = json.loads(Path(__file__).with_name("cases.json").read_text(encoding="utf-8"))
CASES = [Case(**row) for row in ROWS]
MINE = [case for case in CASES if case.users == USERS[type(User._meta.pk).__name__]]


def drop_constraints() -> list[tuple[str, str]]:
    """Take the checks off the flags: a foreign table may have none. Returns how to make them."""
    with connection.cursor() as cursor:
        cursor.execute(CONSTRAINTS)
        constraints: list[tuple[str, str]] = cursor.fetchall()
        for name, _ in constraints:
            cursor.execute(f"ALTER TABLE flagstaff_featureflag DROP CONSTRAINT {name}")
    return constraints


@pytest.fixture(params=MINE, ids=lambda case: case.name)
def case(request: pytest.FixtureRequest, db: None) -> Case:
    """A row of the cases, whose flag is in the open transaction."""
    case: Case = request.param
    drop_constraints()
    case.store()
    return case


@pytest.fixture
def loose_table(transactional_db: None) -> Iterator[None]:
    """The table of the flags without its checks, for what is committed."""
    constraints = drop_constraints()
    yield
    FeatureFlag.objects.all().delete()
    with connection.cursor() as cursor:
        for name, rule in constraints:
            cursor.execute(f"ALTER TABLE flagstaff_featureflag ADD CONSTRAINT {name} {rule}")


def assert_answers(case: Case) -> None:
    moment = snapshot()
    for asker in case.askers():
        assert flag_enabled(case.key, asker) is case.value
        assert moment.flag_enabled(case.key, asker) is case.value
        assert all_flags(asker).get(case.key, False) is case.value
        found = explain(case.key, asker)
        reasons = (found.value, found.reason, found.error_code, found.bucket)
        assert reasons == (case.value, case.reason, case.error_code, case.bucket)


def test_database(case: Case) -> None:
    assert_answers(case)


def test_article(case: Case) -> None:
    asker = as_user(case.askers()[0])
    assert Article(FeatureFlag).flag_enabled(case.key, asker) is case.value


def test_memory(loose_table: None, subtests: pytest.Subtests) -> None:
    with live_engine():
        for case in MINE:
            with subtests.test(case.name):
                FeatureFlag.objects.all().delete()
                User.objects.all().delete()
                case.store()
                refresh()
                assert_answers(case)


def test_buckets_of_the_cases_are_pythons() -> None:
    for case in CASES:
        if case.bucket is not None:
            message = f"{case.key}:{case.subject['pk']}".encode()
            assert int(hashlib.sha256(message).hexdigest(), 16) % 100 == case.bucket, case.name


def test_cases_have_names_of_their_own() -> None:
    assert len({case.name for case in CASES}) == len(CASES)
    assert {case.users for case in CASES} == set(USERS.values())
