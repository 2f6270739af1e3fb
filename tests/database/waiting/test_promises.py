"""What pages say of actions that wait is what happens to them."""

from collections.abc import Callable
from datetime import timedelta
from random import Random
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.db.models.functions import Now
from django.test import Client
from django.utils import timezone

from flagstaff.models import FeatureFlag, KeyValueStore, Segment, WaitingAction
from flagstaff.waiting.outlook import foresee
from tests.support.admin_pages import FLAGS, act, flag_url, permit, row_url
from tests.support.repeats import repeats
from tests.support.screen import Screen
from tests.support.shop import GERMAN, STAFF, Shop
from tests.support.sql import rows
from tests.support.terminals import document, json_word, run
from tests.support.waiting import run_jobs

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("plain_terminal")]

LIST = "/admin/flagstaff/waitingaction/"
KEYS = ("new_checkout", "search_v2", "invoices", "dark_mode")
PERMISSIONS = ("change_featureflag", "change_keyvaluestore", "change_segment", "add_featureflag")
# Of each, so many changes are made before the times of the actions come.
WORLDS, CHANGES = repeats(40, 6), 5


def percent(chance: Random) -> int:
    return chance.choice([0, 5, 20, 50, 80, 100])


def rules(chance: Random) -> str:
    condition = chance.choice([STAFF, GERMAN, {"segment": "enterprise"}])
    return json_word([{"conditions": [condition], "rollout_percent": percent(chance)}])


def conditions(chance: Random) -> list[dict[str, Any]]:
    return [{**chance.choice([STAFF, GERMAN]), "negate": chance.random() < 0.5}]


#: What people ask for, by a line with a key.
LINES: tuple[Callable[[Random, str], str], ...] = (
    lambda chance, key: f"rollout {key} {percent(chance)}",
    lambda chance, key: f"rollout {key} {chance.choice(KEYS)} {percent(chance)}",
    lambda _chance, key: f"on {key}",
    lambda _chance, key: f"off {key}",
    lambda chance, key: f"off {key} {chance.choice(KEYS)}",
    lambda _chance, key: f"release {key}",
    lambda chance, key: f"rules {key} {rules(chance)}",
    lambda _chance, key: f"allow {key} carol",
    lambda _chance, key: f"disallow {key} alice",
    lambda _chance, key: f"details {key} --owner team",
    lambda _chance, key: f"unit {key} visitor",
    lambda chance, _key: f"value set page_size {percent(chance)}",
    lambda chance, _key: f"segment conditions enterprise {json_word(conditions(chance))}",
    lambda _chance, _key: "create brand_new",
)


class World:
    """Rows, people who may change them, and actions that wait."""

    def __init__(self, seed: int, shop: Shop, settings: Any) -> None:
        self.chance, self.settings = Random(seed), settings
        for model in (WaitingAction, FeatureFlag, KeyValueStore, Segment, User):
            model.objects.all().delete()
        settings.FLAGSTAFF = {**settings.FLAGSTAFF, "READ_ONLY": False, "APPROVAL": None}
        for name in ("alice", "bob", "carol"):
            shop.user(name)
        for name in ("ana", "ben"):
            permit(shop.user(name, is_superuser=False), *PERMISSIONS)
        self.client: Client = shop.client("root", is_superuser=True)
        for key in KEYS:
            shop.flag(key)
        shop.value("page_size")

    def ask(self) -> None:
        """Asks for an action at a random time; what cannot wait is refused."""
        line = self.chance.choice(LINES)(self.chance, self.key())
        day = timezone.now() + timedelta(days=self.chance.randint(1, 3))
        time = f"{day:%Y-%m-%d}T{self.chance.randint(8, 18):02}:00"
        run(f"{line} --as {self.chance.choice(['ana', 'ben'])} --at {time}")

    def key(self) -> str:
        return self.chance.choice(KEYS)

    def change(self) -> None:
        """Makes a random change, which may be refused."""
        ways = self.by_orm, self.by_sql, self.on_a_page, self.in_a_terminal, self.of_rights
        self.chance.choice(ways)()

    def by_orm(self) -> None:
        flags = FeatureFlag.objects.filter(key=self.key())
        changes: list[Callable[[], object]] = [
            lambda: flags.update(rollout_percent=percent(self.chance)),
            lambda: flags.update(description="new"),
            lambda: FeatureFlag.allowed_users.through.objects.filter(user_id=1).delete(),
            lambda: [flag.delete() for flag in flags],
            lambda: Segment.objects.update(conditions=conditions(self.chance)),
            lambda: KeyValueStore.objects.update(type="string"),
            lambda: KeyValueStore.objects.update(secret=True),
            lambda: User.objects.filter(username="carol").delete(),
        ]
        self.chance.choice(changes)()

    def by_sql(self) -> None:
        where = f"WHERE key = '{self.key()}'"
        free = "WHERE NOT EXISTS (SELECT FROM flagstaff_featureflag WHERE key = 'brand_new')"
        rows(
            self.chance.choice(
                [
                    f"UPDATE flagstaff_featureflag SET enabled = NOT enabled {where}",
                    f"UPDATE flagstaff_featureflag SET owner = 'new' {where}",
                    f"UPDATE flagstaff_featureflag SET rules = '[]' {where}",
                    f"UPDATE flagstaff_featureflag SET key = key || '_old' {where}",
                    "UPDATE flagstaff_keyvaluestore SET value = '7'",
                    "INSERT INTO flagstaff_featureflag (key) SELECT 'brand_new' " + free,
                ]
            )
        )

    def on_a_page(self) -> None:
        flag = FeatureFlag.objects.filter(key=self.key()).first()
        if flag is None:
            return
        name = self.chance.choice(["rollout", "kill", "on", "release", "details"])
        posted = {"percent": str(percent(self.chance))} if name == "rollout" else {}
        if name == "kill":
            self.client.post(flag_url(flag, name), {})
        elif self.client.get(flag_url(flag, name)).status_code == 200:
            act(self.client, flag_url(flag, name), **posted)

    def in_a_terminal(self) -> None:
        key = self.key()
        number = WaitingAction.objects.order_by("?").values_list("pk", flat=True).first()
        run(
            self.chance.choice(
                [
                    f"rollout {key} {percent(self.chance)}",
                    f"kill {key} --no-wait",
                    f"on {key}",
                    f"rules {key} {rules(self.chance)}",
                    f"details {key} --owner new",
                    f"waiting cancel {number}",
                    f"segment conditions enterprise {json_word(conditions(self.chance))}",
                    "value set page_size 9",
                    f"undo {key}",
                    f"delete {key} --yes",
                ]
            )
        )

    def of_rights(self) -> None:
        user = User.objects.get(username=self.chance.choice(["ana", "ben"]))
        changes: list[Callable[[], object]] = [
            user.user_permissions.clear,
            lambda: permit(user, *PERMISSIONS),
            lambda: User.objects.filter(pk=user.pk).update(is_active=False),
            lambda: self.set("READ_ONLY", self.chance.random() < 0.3),
            lambda: self.set("APPROVAL", self.chance.choice([None, "most", "always"])),
        ]
        self.chance.choice(changes)()

    def set(self, name: str, value: object) -> None:
        self.settings.FLAGSTAFF = {**self.settings.FLAGSTAFF, name: value}

    def require_pages(self, said: list[WaitingAction]) -> None:
        """Requires that all places say of the same actions that they will not run."""
        # It also shows the receipts of the changes.
        self.client.get(LIST)
        for url in (LIST, f"{FLAGS}overview/"):
            assert self.warnings(url) == sum(bool(waiting.obstacle) for waiting in said), url
        listed = {row["id"]: row["obstacle"] for row in document("waiting", "list")}
        assert listed == {waiting.pk: waiting.obstacle for waiting in said}
        for waiting in said:
            assert self.warnings(f"{LIST}{waiting.pk}/change/") == bool(waiting.obstacle)
        for flag in FeatureFlag.objects.all():
            own = [row for row in said if row.row_kind == "flag" and flag.key in row.keys]
            assert self.warnings(row_url(flag)) == sum(bool(waiting.obstacle) for waiting in own)

    def warnings(self, url: str) -> int:
        return Screen(self.client.get(url, follow=True)).text.count("will not run:")

    def let_times_come(self) -> dict[int, str]:
        """Runs each action at its time, in their order, and returns what became of them."""
        while pk := self.next():
            WaitingAction.objects.filter(pk=pk).update(run_at=Now())
            run_jobs()
            assert self.next() != pk
        return dict(WaitingAction.objects.values_list("pk", "state"))

    def next(self) -> int | None:
        rows = WaitingAction.objects.filter(state="waiting").order_by("run_at", "id")
        return rows.values_list("pk", flat=True).first()


@pytest.mark.parametrize(
    "seed", [1, *(pytest.param(seed, marks=pytest.mark.thorough) for seed in range(2, WORLDS + 1))]
)
def test_action_runs_if_and_only_if_the_pages_say_so(seed: int, shop: Shop, settings: Any) -> None:
    world = World(seed, shop, settings)
    for _number in range(8):
        world.ask()
    assert WaitingAction.objects.exists()
    for _number in range(CHANGES):
        world.change()
    said = foresee(WaitingAction.objects.filter(state__in=WaitingAction.OPEN))
    # A page may have asked for one that nobody approves.
    promised = {row.pk: not row.obstacle for row in said if row.state == "waiting"}
    world.require_pages(said)
    states = world.let_times_come()
    became = {pk: states[pk] == "done" for pk in promised}
    results = {row.pk: (row.action, row.keys, row.result) for row in WaitingAction.objects.all()}
    assert promised == became, [results[pk] for pk in promised if promised[pk] != became[pk]]
