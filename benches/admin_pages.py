"""The list of flags and the page of a flag, as ratios to Django's stock list of the same table.

    python -m benches.admin_pages     (beside a DATABASE_URL; `make bench` runs all)

There are 10,000 flags and 1,000,000 allowed users, 100,000 of them on one flag, whose page is the
one that is opened. The stock list has the same fields of the table, and is measured with four
columns, too. The pages alternate, so that all run under the same load; the medians are
compared. Exits with 1 if a page takes more than twice as long as the stock list.
"""

from __future__ import annotations

import sys
from functools import partial
from statistics import median
from time import perf_counter_ns
from typing import Any

from benches._project import set_up
from tools.token_triggers import always

FLAGS, USERS, ALLOWED, ON_ONE = 10_000, 100_000, 1_000_000, 100_000
ROUNDS, MAX_RATIO = 30, 2.0
PREFIX = "/admin/flagstaff/featureflag/"
LARGE = "with_many_users"
# The other links are spread over ten flags in a hundred.
OTHERS = (ALLOWED - ON_ONE) // (USERS // 100)
FILL = (
    """
    INSERT INTO flagstaff_featureflag (key, description, enabled, rollout_percent)
    SELECT 'bulk_' || n, 'The flag number ' || n, mod(n, 3) > 0, mod(n, 101)
    FROM generate_series(2, %s) AS n
    """,
    """
    INSERT INTO flagstaff_featureflag (key, description, enabled, rollout_percent)
    SELECT 'with_many_users', 'A flag with many users', true, least(25, %s)
    """,
    """
    INSERT INTO auth_user (username, password, first_name, last_name, email, is_superuser, is_staff,
        is_active, date_joined)
    SELECT 'guest ' || n, '', '', '', '', false, false, true, now() FROM generate_series(1, %s) n
    """,
)
LINKS = (
    """
    INSERT INTO flagstaff_featureflag_allowed_users (featureflag_id, user_id)
    SELECT f.id, u.id FROM flagstaff_featureflag AS f, auth_user AS u
    WHERE f.key = 'with_many_users' AND u.username LIKE 'guest %%' LIMIT %s
    """,
    """
    INSERT INTO flagstaff_featureflag_allowed_users (featureflag_id, user_id)
    SELECT f.id, u.id
    FROM (SELECT id FROM flagstaff_featureflag WHERE key LIKE 'bulk_%%' ORDER BY id LIMIT %s) AS f,
        (SELECT id FROM auth_user WHERE username LIKE 'guest %%' ORDER BY id LIMIT 1000) AS u
    """,
)
# Nine of ten flags are old, and so is the usage: the list has to look at each flag.
AGE = """
    UPDATE flagstaff_featureflag
    SET created_at = now() - interval '60 days', changed_at = now() - interval '45 days'
    WHERE mod(id, 10) > 0
"""
OLD_USAGE = """
    INSERT INTO flagstaff_usage
    SELECT date_trunc('hour', now()) - interval '40 days', key, 'true', 10,
        now() - interval '40 days'
    FROM flagstaff_featureflag
"""
USAGE = """
    INSERT INTO flagstaff_usage
    SELECT date_trunc('hour', now()) - h * interval '1 hour', key, 'true', 10, now()
    FROM flagstaff_featureflag, generate_series(0, 23) AS h
    WHERE key LIKE 'bulk_1%' OR key = 'with_many_users'
"""


def main() -> int:
    """Measures, prints, and returns the exit status."""
    set_up()
    _fill()
    pages = _pages()
    for open_page in pages.values():
        open_page()
    taken: dict[str, list[float]] = {name: [] for name in pages}
    for _ in range(ROUNDS):
        for name, open_page in pages.items():
            start = perf_counter_ns()
            open_page()
            taken[name].append((perf_counter_ns() - start) / 1e6)
    stock, *others = pages
    floor = median(taken[stock])
    print(f"{FLAGS:,} flags, {ALLOWED:,} allowed users, {ON_ONE:,} of them on one flag")
    print(f"  {stock:34} {floor:8.1f} ms")
    ratios = {name: median(taken[name]) / floor for name in others}
    for name, ratio in ratios.items():
        print(f"  {name:34} {median(taken[name]):8.1f} ms   ratio {ratio:.2f}")
    return int(max(ratios.values()) > MAX_RATIO)


def _fill() -> None:
    from django.db import connection  # noqa: PLC0415 (after set-up)

    with connection.cursor() as cursor:
        for statement, count in zip(FILL, (FLAGS, FLAGS, USERS), strict=True):
            cursor.execute(statement, [count])
        # The history of a million links would take longer than the links.
        table = "flagstaff_featureflag_allowed_users"
        cursor.execute(f"ALTER TABLE {table} DISABLE TRIGGER USER")
        for statement, count in zip(LINKS, (ON_ONE, OTHERS), strict=True):
            cursor.execute(statement, [count])
        cursor.execute(f"ALTER TABLE {table} ENABLE TRIGGER USER")
        cursor.execute(always(table))
        cursor.execute("ALTER TABLE flagstaff_featureflag DISABLE TRIGGER USER")
        cursor.execute(AGE)
        cursor.execute("ALTER TABLE flagstaff_featureflag ENABLE TRIGGER USER")
        cursor.execute(always("flagstaff_featureflag"))
        cursor.execute("UPDATE flagstaff_change SET at = at - interval '45 days'")
        for usage in (USAGE, OLD_USAGE):
            cursor.execute(usage)
        cursor.execute("VACUUM ANALYZE")


def _pages() -> dict[str, Any]:
    """Returns functions that open the pages as a superuser; the stock list is the first."""
    from django.conf import settings  # noqa: PLC0415 (after set-up)
    from django.contrib.admin import AdminSite, ModelAdmin, site  # noqa: PLC0415
    from django.contrib.auth import get_user_model  # noqa: PLC0415
    from django.test import Client  # noqa: PLC0415
    from django.urls import path  # noqa: PLC0415

    from flagstaff.models import FeatureFlag  # noqa: PLC0415

    base: Any = ModelAdmin

    class StockAdmin(base):  # type: ignore[misc]
        """What a project would write without this package's admin."""

        list_display = (
            *("key", "description", "enabled", "rollout_percent", "owner", "tags", "changed_at"),
        )
        list_filter = ("enabled", "kind", "owner")
        search_fields = ("key", "description")

    class ShortAdmin(StockAdmin):
        """The least that a project would show."""

        list_display = ("key", "enabled", "rollout_percent", "changed_at")
        list_filter = ("enabled", "kind")

    stock, short = AdminSite(name="stock"), AdminSite(name="short")
    stock.register(FeatureFlag, StockAdmin)
    short.register(FeatureFlag, ShortAdmin)

    class Urls:
        urlpatterns = [
            path("admin/", site.urls),
            path("stock/", stock.urls),
            path("short/", short.urls),
        ]

    settings.DATABASES["default"]["CONN_MAX_AGE"] = None
    settings.ROOT_URLCONF = Urls
    users: Any = get_user_model()
    client = Client()
    client.force_login(users.objects.create_superuser("bench"))
    pk = FeatureFlag.objects.get(key=LARGE).pk
    urls = {
        "stock list": "/stock/flagstaff/featureflag/",
        "stock list, 4 columns": "/short/flagstaff/featureflag/",
        "list": PREFIX,
        "list, second page, by rollout": f"{PREFIX}?p=2&o=-2",
        "page of a flag": f"{PREFIX}{pk}/change/",
        "page of its allowed users": f"{PREFIX}{pk}/allowed-users/",
        "page of its history": f"{PREFIX}{pk}/history/",
    }
    return {name: partial(_open, client, url) for name, url in urls.items()}


def _open(client: Any, url: str) -> None:
    response = client.get(url)
    if response.status_code != 200:  # noqa: PLR2004
        raise RuntimeError(f"{url} answered {response.status_code}")


if __name__ == "__main__":
    sys.exit(main())
