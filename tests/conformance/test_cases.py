"""The semantics as rows, evaluated in memory, on the database, and by the article's code.

`tests/core/conformance.rs` runs the same rows on the Rust core.
"""

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
from django.utils.functional import SimpleLazyObject

from flagstaff import all_flags, explain, flag_enabled, refresh, snapshot
from flagstaff.models import FeatureFlag
from flagstaff.testing import live_engine
from tests.conformance.oracle import Article, as_user
from tests.support.forced_off import forced_off
from tests.support.sql import rows

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
    #: The keys that the environment of the process turns off.
    forced_off: tuple[str, ...] = ()

    def store(self) -> None:
        """Writes the flag and its users, without the models' validation."""
        if self.flag is None:
            return
        plain = {name: self.flag[name] for name in ("key", "enabled", "rollout_percent")}
        [flag] = FeatureFlag.objects.bulk_create([FeatureFlag(**plain)])
        pks = [User._meta.pk.to_python(pk) for pk in self.flag["allowed"]]
        users = [User(pk=pk, username=f"user {pk}") for pk in pks]
        flag.allowed_users.set(User.objects.bulk_create(users))

    def arguments(self) -> list[Any]:
        """All arguments that may be passed for this subject."""
        if self.subject["kind"] == "none":
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
CASES_HERE = [case for case in CASES if case.users == USERS[type(User._meta.pk).__name__]]


def drop_constraints() -> list[tuple[str, str]]:
    """Drops the check constraints, which a project's own table may lack; returns them."""
    constraints = rows(CONSTRAINTS)
    for name, _ in constraints:
        rows(f"ALTER TABLE flagstaff_featureflag DROP CONSTRAINT {name}")
    return constraints


@pytest.fixture(params=CASES_HERE, ids=lambda case: case.name)
def case(request: pytest.FixtureRequest, db: None) -> Iterator[Case]:
    """A case whose flag is in the open transaction."""
    case: Case = request.param
    drop_constraints()
    case.store()
    with forced_off(case.forced_off):
        yield case


@pytest.fixture
def loose_table(transactional_db: None) -> Iterator[None]:
    """The flag table without its check constraints, for committed rows."""
    constraints = drop_constraints()
    yield
    FeatureFlag.objects.all().delete()
    for name, rule in constraints:
        rows(f"ALTER TABLE flagstaff_featureflag ADD CONSTRAINT {name} {rule}")


def assert_results(case: Case) -> None:
    current = snapshot()
    for user in case.arguments():
        assert flag_enabled(case.key, user) is case.value
        assert current.flag_enabled(case.key, user) is case.value
        assert all_flags(user).get(case.key, False) is case.value
        explained = explain(case.key, user)
        result = (explained.value, explained.reason, explained.error_code, explained.bucket)
        assert result == (case.value, case.reason, case.error_code, case.bucket)


def test_database_returns_the_expected_result(case: Case) -> None:
    assert_results(case)


def test_articles_code_returns_the_expected_result(case: Case) -> None:
    user = as_user(case.arguments()[0])
    # The article has no flags that are off in a process.
    forced = case.key in case.forced_off
    assert (not forced and Article(FeatureFlag).flag_enabled(case.key, user)) is case.value


def test_memory_returns_the_expected_results(loose_table: None, subtests: pytest.Subtests) -> None:
    with live_engine():
        for case in CASES_HERE:
            with subtests.test(case.name):
                FeatureFlag.objects.all().delete()
                User.objects.all().delete()
                case.store()
                refresh()
                with forced_off(case.forced_off):
                    assert_results(case)


def test_buckets_of_the_cases_match_python() -> None:
    for case in CASES:
        if case.bucket is not None:
            message = f"{case.key}:{case.subject['pk']}".encode()
            assert int(hashlib.sha256(message).hexdigest(), 16) % 100 == case.bucket, case.name


def test_names_of_the_cases_are_unique() -> None:
    assert len({case.name for case in CASES}) == len(CASES)
    assert {case.users for case in CASES} == set(USERS.values())
