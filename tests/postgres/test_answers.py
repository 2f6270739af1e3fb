"""Whoever asks whatever: memory, the database and the article's code give one answer.

The same tests run again where users have other primary keys, at the end of this file.
"""

from __future__ import annotations

import random
import uuid
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import pytest
from django.conf import settings
from django.contrib.auth import get_user_model
from django.contrib.auth.models import AnonymousUser
from django.db import connection, models
from django.db.models import Model
from django.test.utils import isolate_apps
from django.utils.functional import SimpleLazyObject

from flagstaff import explain, flag_enabled, refresh
from flagstaff.models import FeatureFlag
from flagstaff.testing import live_engine
from tests.conformance.oracle import Article, Shelf, as_user
from tests.conftest import RunIsolated

pytestmark = pytest.mark.django_db
# The engine has a connection of its own and sees what is committed. To name the apps saves the
# work that Django does after emptying the tables of all.
COMMITTED = pytest.mark.django_db(transaction=True, available_apps=settings.INSTALLED_APPS)

User: Any = get_user_model()
PAIRS = 100_000 if User._meta.label == "auth.User" else 30_000
# A question of the ORM costs a thousand times as much.
PAIRS_OF_THE_ORM = 500

Asker = Callable[[], Any]
ALPHABETS = (
    "abcdefghijklmnopqrstuvwxyz_-.0123456789",
    "äöüßéèñçøåÅ\u0301\u0308",
    "ключфлагЗаказ新しい会計العلامات",
    "🛒🚀🦀𝄞👩\u200d🚀",
)


def some_text(longest: int = 60) -> str:
    letters = random.choice(ALPHABETS)
    return "".join(random.choices(letters, k=random.randint(1, longest)))


def some_integer() -> int:
    bits = random.choice([8, 16, 32, 33, 53, 63, 64, 80])
    return random.choice([1, 1, 1, -1]) * random.getrandbits(bits)


def some_uuid() -> uuid.UUID:
    return uuid.UUID(int=random.getrandbits(128))


def some_pk() -> Any:
    """A primary key that a user may have."""
    if isinstance(User._meta.pk, models.UUIDField):
        return some_uuid()
    if isinstance(User._meta.pk, models.IntegerField):
        return some_integer()
    return random.choice([some_text(), str(some_integer()), str(some_uuid()), some_text(255)])


def some_pk_that_fits() -> Any:
    """A primary key that a user in the database may have."""
    if isinstance(User._meta.pk, models.IntegerField):
        low, high = connection.ops.integer_field_range(User._meta.pk.get_internal_type())
        return random.choice([random.randint(1, 500), random.randint(low, high)])
    return some_pk()


def misspelt(pk: Any) -> str:
    text = str(pk)
    return random.choice([text.upper(), f"0{text}", f" {text}", f"+{text}", text.replace("-", "")])


def heir(user_model: Any, *, proxy: bool) -> Any:
    """A proxy of the user model, or one that inherits its table."""
    with isolate_apps("django.contrib.auth"):
        meta = type("Meta", (), {"app_label": "auth", "proxy": proxy})
        return type("Heir", (user_model,), {"__module__": __name__, "Meta": meta})


PROXY = heir(User, proxy=True)
CHILD = heir(User, proxy=False)


def some_asker(pk: Any) -> Asker:
    """What a caller may pass for the user with this key; each call makes it anew."""
    user = random.choice([User, PROXY, CHILD])(pk=pk)
    evaluated = SimpleLazyObject(lambda: user)
    bool(evaluated)
    return random.choice(
        [
            lambda: pk,
            lambda: str(pk),
            lambda: user,
            lambda: evaluated,
            lambda: SimpleLazyObject(lambda: user),
        ]
    )


def same(asker: Any) -> Any:
    return asker


def nobodies() -> list[Asker]:
    return [
        lambda: None,
        AnonymousUser,
        lambda: User(pk=None),
        lambda: SimpleLazyObject(AnonymousUser),
        lambda: SimpleLazyObject(lambda: None),
        lambda: SimpleLazyObject(lambda: User(pk=None)),
    ]


class Crowd:
    """Flags and users in the database, and the same flags on a shelf beside it."""

    def __init__(self, flags: int) -> None:
        self.pks = list({some_pk_that_fits() for _ in range(200)})
        User.objects.bulk_create(User(pk=pk, username=f"user {pk}") for pk in self.pks)
        self.shelf = Shelf()
        self.keys = list({some_text(120) for _ in range(flags)})
        self._store()

    def _store(self) -> None:
        flags = FeatureFlag.objects.bulk_create(
            FeatureFlag(
                key=key,
                enabled=random.random() < 0.9,
                rollout_percent=random.choice([0, 1, 99, 100, *random.sample(range(101), 8)]),
            )
            for key in self.keys
        )
        through = FeatureFlag.allowed_users.through
        user_id = FeatureFlag._meta.get_field("allowed_users").m2m_reverse_name()
        entries = []
        for flag in flags:
            allowed = random.sample(self.pks, random.choice([0, 0, 1, 5, 50]))
            entries += [through(featureflag_id=flag.pk, **{user_id: pk}) for pk in allowed]
            texts = map(str, allowed)
            percent = flag.rollout_percent
            self.shelf.put(flag.key, enabled=flag.enabled, percent=percent, allowed=texts)
        through.objects.bulk_create(entries)

    def pairs(self, count: int) -> Iterator[tuple[str, Asker]]:
        """Random questions, most of them by or about those who are in the database."""
        askers = nobodies()
        for _ in range(2_000):
            pk = random.choice(self.pks) if random.random() < 0.5 else some_pk()
            askers.append(some_asker(pk))
            if random.random() < 0.1:
                askers.append(partial(same, misspelt(pk)))
        others = [some_uuid(), some_text(), some_integer(), "", "None", 0]
        askers += [partial(same, other) for other in others]
        keys = [*self.keys, "no_such_flag", self.keys[0].upper() + "!", ""]
        for _ in range(count):
            yield random.choice(keys), random.choice(askers)


def differences(
    crowd: Crowd, count: int, *answers: Callable[[str, Asker], bool]
) -> list[tuple[object, ...]]:
    """The questions that do not get the same answer from all."""
    found = []
    for key, asker in crowd.pairs(count):
        given = [answer(key, asker) for answer in answers]
        if len(set(given)) > 1:
            found.append((key, repr(asker()), explain(key, asker()), *given))
    return found


def ours(key: str, asker: Asker) -> bool:
    return flag_enabled(key, asker())


def article(store: Any) -> Callable[[str, Asker], bool]:
    oracle = Article(store)
    return lambda key, asker: oracle.flag_enabled(key, as_user(asker()))


@COMMITTED
def test_memory_gives_the_articles_answers() -> None:
    crowd = Crowd(flags=400)
    with live_engine():
        assert differences(crowd, PAIRS, ours, article(crowd.shelf)) == []
        assert differences(crowd, PAIRS_OF_THE_ORM, ours, article(FeatureFlag)) == []


def test_database_gives_the_articles_answers() -> None:
    crowd = Crowd(flags=400)
    answers = ours, article(crowd.shelf), article(FeatureFlag)
    assert differences(crowd, PAIRS_OF_THE_ORM, *answers) == []


@pytest.fixture(params=[pytest.param("memory", marks=COMMITTED), "database"])
def answered_from(request: pytest.FixtureRequest, db: None) -> Iterator[Callable[[], None]]:
    """Both ways to an answer. Call it when the flags are made."""
    if request.param == "database":
        yield lambda: None
        return
    with live_engine():
        yield refresh


Ready = Callable[[], None]


def stored_user() -> Any:
    return User.objects.create(pk=some_pk_that_fits(), username="alice")


def in_a_request(user: object, seen: list[object]) -> SimpleLazyObject[object]:
    """A request's user, which is got from the session when it is looked at."""

    def look() -> object:
        seen.append(user)
        return user

    return SimpleLazyObject(look)


def test_user_keeps_their_place_as_the_ramp_grows(answered_from: Ready) -> None:
    flag = FeatureFlag.objects.create(key="new_checkout", enabled=True)
    users, had = [some_pk() for _ in range(100)], set[object]()
    for percent in [0, 1, 10, 50, 99, 100]:
        FeatureFlag.objects.filter(pk=flag.pk).update(rollout_percent=percent)
        answered_from()
        have = {user for user in users if flag_enabled("new_checkout", user)}
        assert had <= have
        had = have
    assert had == set(users)


def test_user_is_looked_at_once_where_the_answer_depends_on_it(answered_from: Ready) -> None:
    alice = stored_user()
    FeatureFlag.objects.create(key="half", enabled=True, rollout_percent=50)
    FeatureFlag.objects.create(key="listed", enabled=True).allowed_users.add(alice)
    answered_from()
    for key in ("half", "listed"):
        seen: list[object] = []
        lazy_user = in_a_request(alice, seen)
        assert flag_enabled(key, lazy_user) is flag_enabled(key, alice)
        assert flag_enabled(key, lazy_user) is flag_enabled(key, alice)
        assert seen == [alice]


@pytest.mark.parametrize(
    "flag",
    [
        {"enabled": False, "rollout_percent": 50},
        {"enabled": True, "rollout_percent": 100},
        {"enabled": True, "rollout_percent": 0},
        {"key": "another"},
    ],
    ids=["disabled", "at 100 percent", "at 0 percent and without a list", "missing"],
)
def test_user_is_left_alone_where_the_answer_does_not_depend_on_it(
    answered_from: Ready, flag: dict[str, Any]
) -> None:
    FeatureFlag.objects.create(**{"key": "new_checkout", **flag})
    answered_from()
    seen: list[object] = []
    flag_enabled("new_checkout", in_a_request(AnonymousUser(), seen))
    assert seen == []


@pytest.mark.parametrize("flag", [{"enabled": False}, {"enabled": True, "rollout_percent": 100}])
def test_user_is_left_alone_even_with_an_allow_list(
    answered_from: Ready, flag: dict[str, Any]
) -> None:
    FeatureFlag.objects.create(key="new_checkout", **flag).allowed_users.add(stored_user())
    answered_from()
    seen: list[object] = []
    assert flag_enabled("new_checkout", in_a_request(AnonymousUser(), seen)) is flag["enabled"]
    assert seen == []


class SessionIsGoneError(Exception):
    pass


@pytest.mark.parametrize("error", [SessionIsGoneError, KeyError, SystemExit])
def test_what_the_users_own_evaluation_raises_is_passed_on(
    answered_from: Ready, error: type[BaseException]
) -> None:
    def look() -> object:
        raise error("on purpose")

    FeatureFlag.objects.create(key="new_checkout", enabled=True, rollout_percent=50)
    answered_from()
    with pytest.raises(error, match="on purpose"):
        flag_enabled("new_checkout", SimpleLazyObject(look))
    with pytest.raises(error, match="on purpose"):
        explain("new_checkout", SimpleLazyObject(look))


def test_allowed_proxy_is_allowed(answered_from: Ready) -> None:
    alice = PROXY(pk=stored_user().pk)
    FeatureFlag.objects.create(key="listed", enabled=True).allowed_users.add(alice.pk)
    answered_from()
    assert flag_enabled("listed", alice)
    assert flag_enabled("listed", SimpleLazyObject(lambda: alice))


def test_user_in_two_tables_counts_by_the_key_of_both(answered_from: Ready) -> None:
    alice = CHILD(pk=stored_user().pk)
    FeatureFlag.objects.create(key="listed", enabled=True).allowed_users.add(alice.pk)
    FeatureFlag.objects.create(key="half", enabled=True, rollout_percent=50)
    answered_from()
    assert flag_enabled("listed", alice)
    assert explain("half", alice) == explain("half", alice.pk)


def test_user_who_is_loaded_from_two_tables_counts_too() -> None:
    with connection.schema_editor() as editor:
        editor.create_model(CHILD)
    alice: Model = CHILD.objects.create(pk=some_pk_that_fits(), username="alice")
    FeatureFlag.objects.create(key="listed", enabled=True).allowed_users.add(alice.pk)
    assert flag_enabled("listed", CHILD.objects.get())
    assert flag_enabled("listed", CHILD.objects.only("username").get())


@pytest.mark.skipif(User._meta.label != "auth.User", reason="the others are run from here")
@pytest.mark.parametrize(
    ("users", "tests"),
    [
        ("bigint", "test_cases"),
        ("uuid", "test_cases or articles_answers"),
        ("text", "test_cases or articles_answers"),
    ],
)
def test_all_of_this_holds_where_users_have_other_keys(
    users: str, tests: str, run_isolated: RunIsolated
) -> None:
    which = [__file__, "tests/conformance", "-k", tests]
    options = ["-q", "-p", "no:cacheprovider", f"--ds=tests.apps.settings_{users}"]
    run_isolated("import pytest, sys; sys.exit(pytest.main(sys.argv[1:]))", *options, *which)
