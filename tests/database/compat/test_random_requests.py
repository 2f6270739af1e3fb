"""Random flags of waffle and random requests: the results of waffle, and those through Serve."""

from __future__ import annotations

import random
from collections import Counter
from dataclasses import dataclass
from typing import Any

import pytest
from django.contrib.auth.models import AnonymousUser, Group, User
from django.core.cache import cache
from django.test import RequestFactory
from waffle.models import Flag

from flagstaff.testing import live_engine
from tests.support.fixtures import COMMITTED
from tests.support.repeats import repeats
from tests.support.waffle_rows import take_over

pytestmark = pytest.mark.thorough

SEED = 38
PAIRS = repeats(100_000, 3_000)
FLAGS = PAIRS // 50
#: Browsers keep what waffle gave them.
FAR = "9999-12-31"
LANGUAGES = ("de", "fr", "pt-br")
#: What the import says about a flag in testing that has users, and one that is off for everyone.
KEEPS_IN_TEST = "its users keep the flag with dwft_…=0"
OFF_FOR_ALL = (
    "it is off for everyone; is_active_for_user() of waffle returned True for its users "
    "nevertheless"
)
TEXTS = ("True", "False", "1", "")


@dataclass
class People:
    """The users and groups of the random flags."""

    users: list[User]
    groups: list[Group]


@pytest.fixture
def people() -> People:
    """Users with all combinations of is_staff and is_superuser, in no, one or two groups."""
    groups = [Group.objects.create(name=f"group {number}") for number in range(4)]
    users = []
    for number in range(12):
        user = User.objects.create(
            username=f"user{number}", is_staff=bool(number & 1), is_superuser=bool(number & 2)
        )
        user.groups.set(groups[number % 4 : number % 4 + number // 4])
        users.append(user)
    return People(users, groups)


def create_flags(rng: random.Random, people: People) -> list[Flag]:
    """Creates flags without signals, so that only the import writes them here."""

    def some(chance: float) -> bool:
        return rng.random() < chance

    flags = Flag.objects.bulk_create(
        Flag(
            name=f"flag{'_-. '[number % 4]}{number}",
            everyone=rng.choice([None] * 6 + [True, False]),
            percent=rng.choice([None, None, "0.0", "0.1", "12.5", "50.0", "99.4", "99.9"]),
            testing=some(0.4),
            superusers=some(0.5),
            staff=some(0.2),
            authenticated=some(0.15),
            rollout=some(0.3),
            languages=rng.choice(["", "", "de", "fr, de", " pt-br ,,en"]),
        )
        for number in range(FLAGS)
    )
    users, groups = Flag.users.through, Flag.groups.through
    users._default_manager.bulk_create(
        users(flag_id=flag.pk, user_id=user.pk)
        for flag in flags
        if some(0.5)
        for user in rng.sample(people.users, rng.randint(1, 4))
    )
    groups._default_manager.bulk_create(
        groups(flag_id=flag.pk, group_id=group.pk)
        for flag in flags
        if some(0.4)
        for group in rng.sample(people.groups, rng.randint(1, 2))
    )
    return list(Flag.objects.all())


@dataclass(frozen=True)
class Given:
    """What a request has, from which two equal ones are made."""

    #: A user, or None for an anonymous one.
    user: User | None
    has_user: bool
    language: str | None
    #: The test parameter and the test header.
    query: str | None
    header: str | None
    cookies: tuple[tuple[str, str], ...]

    def request(self, name: str) -> Any:
        parameter = f"dwft_{name}"
        request: Any = RequestFactory().get(
            "/", {} if self.query is None else {parameter: self.query}
        )
        if self.header is not None:
            header = parameter.upper().replace("-", "_")
            request.META[f"HTTP_{header}"] = self.header
        if self.has_user:
            request.user = self.user or AnonymousUser()
        if self.language is not None:
            request.LANGUAGE_CODE = self.language
        request.COOKIES.update(self.cookies)
        return request


def random_request(rng: random.Random, flag: Flag, people: People) -> Given:
    """Returns a request of a browser that has had a result of the flag, if it has a percentage."""
    cookies = [(f"dwft_{flag.name}", rng.choice(TEXTS))] if rng.random() < 0.1 else []
    if flag.percent is not None or rng.random() < 0.3:
        cookies.append((f"dwf_{flag.name}", rng.choice(TEXTS)))
    return Given(
        user=rng.choice([None, None, *people.users]),
        has_user=rng.random() < 0.9,
        language=rng.choice([None, *LANGUAGES]),
        query=rng.choice(["1", "0", ""]) if rng.random() < 0.15 else None,
        header=rng.choice(["1", "0", ""]) if rng.random() < 0.15 else None,
        cookies=tuple(cookies),
    )


def results(pairs: list[tuple[Flag, Given]]) -> list[tuple[bool | None, Any]]:
    """Returns each result, and the results of tests that the response would keep in cookies."""
    found = []
    for flag, given in pairs:
        request = given.request(flag.name)
        found.append((flag.is_active(request), getattr(request, "waffle_tests", None)))
    return found


@dataclass
class Chosen:
    """Random flags, which are written here, too."""

    rng: random.Random
    flags: list[Flag]
    announced: dict[str, tuple[str, ...]]
    #: The primary keys of flags and of their users.
    listed: set[tuple[int, int]]


@pytest.fixture
def chosen(people: People) -> Chosen:
    cache.clear()
    rng = random.Random(SEED)
    flags = create_flags(rng, people)
    announced = {name: one.notes for (_, name), one in take_over().items()}
    pairs = Flag.users.through._default_manager.values_list("flag_id", "user_id")
    return Chosen(rng, flags, announced, set(pairs))


def serve(settings: Any, **options: object) -> None:
    settings.FLAGSTAFF = {**settings.FLAGSTAFF, "WAFFLE": options}


@pytest.mark.timeout(60 + PAIRS // 200)
@COMMITTED
def test_served_results_for_requests_are_those_of_waffle_but_for_announced_ones(
    settings: Any, people: People, chosen: Chosen
) -> None:
    drawn = [chosen.rng.choice(chosen.flags) for _ in range(PAIRS)]
    pairs = [(flag, random_request(chosen.rng, flag, people)) for flag in drawn]
    serve(settings, SERVE=False, SHADOW=0)
    before = results(pairs)
    serve(settings, SERVE=True, PERCENT="bucket", KEEP_COOKIES_UNTIL=FAR)
    with live_engine():
        after = results(pairs)
    differing = 0
    for (flag, given), theirs, ours in zip(pairs, before, after, strict=True):
        if theirs == ours:
            continue
        differing += 1
        assert theirs[1] == ours[1], (vars(flag), given)
        assert KEEPS_IN_TEST in chosen.announced[flag.name], (vars(flag), given)
        user = (given.has_user and given.user) or AnonymousUser()
        assert (flag.pk, user.pk) in chosen.listed, (vars(flag), given)
        assert ours[0] is True, (vars(flag), given)
    found = Counter(result for result, _ in before)
    print(f"{PAIRS} pairs: {found[True]} on, {found[False]} off, {differing} as announced")  # noqa: T201
    assert min(found[True], found[False]) > PAIRS // 4
    assert differing > 0


@COMMITTED
def test_served_results_for_users_are_those_of_waffle_but_for_announced_ones(
    settings: Any, people: People, chosen: Chosen
) -> None:
    users: list[Any] = [*people.users, AnonymousUser()]
    pairs = [(flag, user) for flag in chosen.flags[:500] for user in users]
    serve(settings, SERVE=False, SHADOW=0)
    before = [bool(flag.is_active_for_user(user)) for flag, user in pairs]
    serve(settings, SERVE=True)
    with live_engine():
        after = [bool(flag.is_active_for_user(user)) for flag, user in pairs]
    differing = 0
    for (flag, user), theirs, ours in zip(pairs, before, after, strict=True):
        if theirs == ours:
            continue
        differing += 1
        assert OFF_FOR_ALL in chosen.announced[flag.name], (vars(flag), user)
        assert (flag.everyone, ours) == (False, False), (vars(flag), user)
    assert differing > 0
    assert min(before.count(True), before.count(False)) > len(before) // 4
