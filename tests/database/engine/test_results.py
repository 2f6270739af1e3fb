"""For any flag and user, memory, the database and the article's code return the same result.

tests/system/engine/test_other_projects.py runs these tests with other types of primary keys.
"""

import random
import uuid
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import pytest
from django.contrib.auth import get_user_model
from django.contrib.auth.models import AnonymousUser
from django.db import connection, models
from django.db.models import Model
from django.test.utils import isolate_apps
from django.utils.functional import SimpleLazyObject

from flagstaff import explain, flag_enabled
from flagstaff.models import FeatureFlag
from flagstaff.testing import live_engine
from tests.conformance.oracle import Article, FlagStore, as_user
from tests.support.fixtures import COMMITTED, Load
from tests.support.repeats import repeats

User: Any = get_user_model()
PAIRS = repeats(100_000, 5_000)
# An evaluation with the ORM takes a thousand times as long.
ORM_PAIRS = repeats(500, 100)

MakeUser = Callable[[], Any]
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
    """A primary key that a user may have, stored or not."""
    if isinstance(User._meta.pk, models.UUIDField):
        return some_uuid()
    if isinstance(User._meta.pk, models.IntegerField):
        return some_integer()
    return random.choice([some_text(), str(some_integer()), str(some_uuid()), some_text(255)])


def some_storable_pk() -> Any:
    """A primary key that the user table can store."""
    if isinstance(User._meta.pk, models.IntegerField):
        low, high = connection.ops.integer_field_range(User._meta.pk.get_internal_type())
        return random.choice([random.randint(1, 500), random.randint(low, high)])
    return some_pk()


def user_submodel(user_model: Any, *, proxy: bool) -> Any:
    """A proxy of the user model, or a model with multi-table inheritance."""
    with isolate_apps("django.contrib.auth"):
        meta = type("Meta", (), {"app_label": "auth", "proxy": proxy})
        return type("SubUser", (user_model,), {"__module__": __name__, "Meta": meta})


PROXY = user_submodel(User, proxy=True)
CHILD = user_submodel(User, proxy=False)


def some_user(pk: Any) -> MakeUser:
    """A function that creates an argument for the user with this primary key."""
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


def same(user: Any) -> Any:
    return user


ANONYMOUS_USERS: list[MakeUser] = [
    lambda: None,
    AnonymousUser,
    lambda: User(pk=None),
    lambda: SimpleLazyObject(AnonymousUser),
    lambda: SimpleLazyObject(lambda: None),
    lambda: SimpleLazyObject(lambda: User(pk=None)),
]


class Population:
    """Flags and users in the database, and the same flags in memory for the article's code."""

    def __init__(self, flags: int) -> None:
        self.pks = list({some_storable_pk() for _ in range(200)})
        User.objects.bulk_create(User(pk=pk, username=f"user {pk}") for pk in self.pks)
        self.store = FlagStore()
        self.keys = list({some_text(120) for _ in range(flags)})
        self._fill()

    def _fill(self) -> None:
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
            self.store.put(flag.key, enabled=flag.enabled, percent=percent, allowed=texts)
        through.objects.bulk_create(entries)

    def pairs(self, count: int) -> Iterator[tuple[str, MakeUser]]:
        """Random pairs of a key and a user, mostly of those in the database."""
        users = [*ANONYMOUS_USERS]
        for _ in range(2_000):
            pk = random.choice(self.pks) if random.random() < 0.5 else some_pk()
            users.append(some_user(pk))
            if random.random() < 0.1:
                texts = [str(pk).upper(), f"0{pk}", f" {pk}", f"+{pk}", str(pk).replace("-", "")]
                users.append(partial(same, random.choice(texts)))
        others = [some_uuid(), some_text(), some_integer(), "", "None", 0]
        users += [partial(same, other) for other in others]
        keys = [*self.keys, "no_such_flag", self.keys[0].upper() + "!", ""]
        for _ in range(count):
            yield random.choice(keys), random.choice(users)


def differences(
    population: Population, count: int, *others: Callable[[str, MakeUser], bool]
) -> list[tuple[object, ...]]:
    """The pairs for which other evaluators return another result than flagstaff."""
    different = []
    for key, make_user in population.pairs(count):
        results = [evaluate(key, make_user) for evaluate in others]
        results.append(flag_enabled(key, make_user()))
        if len(set(results)) > 1:
            different.append((key, repr(make_user()), explain(key, make_user()), *results))
    return different


def article(store: Any) -> Callable[[str, MakeUser], bool]:
    oracle = Article(store)
    return lambda key, make_user: oracle.flag_enabled(key, as_user(make_user()))


@COMMITTED
def test_memory_returns_the_articles_results() -> None:
    population = Population(flags=400)
    with live_engine():
        assert differences(population, PAIRS, article(population.store)) == []
        assert differences(population, ORM_PAIRS, article(FeatureFlag)) == []


def test_database_returns_the_articles_results() -> None:
    population = Population(flags=400)
    articles = article(population.store), article(FeatureFlag)
    assert differences(population, ORM_PAIRS, *articles) == []


class SessionExpiredError(Exception):
    pass


@pytest.mark.parametrize("error", [SessionExpiredError, KeyError, SystemExit])
def test_error_of_a_lazy_user_propagates(load: Load, error: type[BaseException]) -> None:
    def read() -> object:
        raise error("on purpose")

    FeatureFlag.objects.create(key="new_checkout", enabled=True, rollout_percent=50)
    load()
    with pytest.raises(error, match="on purpose"):
        flag_enabled("new_checkout", SimpleLazyObject(read))
    with pytest.raises(error, match="on purpose"):
        explain("new_checkout", SimpleLazyObject(read))


def test_user_loaded_with_multi_table_inheritance_is_allowed() -> None:
    with connection.schema_editor() as editor:
        editor.create_model(CHILD)
    alice: Model = CHILD.objects.create(pk=some_storable_pk(), username="alice")
    FeatureFlag.objects.create(key="listed", enabled=True).allowed_users.add(alice.pk)
    assert flag_enabled("listed", CHILD.objects.get())
    assert flag_enabled("listed", CHILD.objects.only("username").get())
