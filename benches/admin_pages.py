"""The list of flags and the page of a flag, as ratios to Django's stock list of the same table.

    python -m benches.admin_pages     (beside a DATABASE_URL; `make bench` runs all)

There are 10,000 flags and 1,000,000 allowed users, 100,000 of them on one flag, whose page is the
one that is opened. The stock list has the same fields of the table, and is measured with four
columns, too. The pages alternate, so that all run under the same load; the medians are
compared. Exits with 1 if a page takes more than twice as long as the stock list.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from functools import partial
from typing import Any

from benches._project import (
    ADD_GUESTS,
    ALLOWED_USERS,
    client_of,
    disable_triggers,
    enable_triggers,
    execute,
    median_costs,
    open_page,
    set_up,
    superuser,
)

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
    FROM generate_series(2, %(flags)s) AS n
    """,
    """
    INSERT INTO flagstaff_featureflag (key, description, enabled, rollout_percent)
    SELECT 'with_many_users', 'A flag with many users', true, 25
    """,
)
LINKS = (
    """
    INSERT INTO flagstaff_featureflag_allowed_users (featureflag_id, user_id)
    SELECT f.id, u.id FROM flagstaff_featureflag AS f, auth_user AS u
    WHERE f.key = 'with_many_users' AND u.username LIKE 'guest %%' LIMIT %(on_one)s
    """,
    """
    INSERT INTO flagstaff_featureflag_allowed_users (featureflag_id, user_id)
    SELECT f.id, u.id
    FROM (SELECT id FROM flagstaff_featureflag WHERE key LIKE 'bulk_%%' ORDER BY id
            LIMIT %(others)s) AS f,
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
    costs = median_costs(_pages(), ROUNDS)
    stock, *others = costs
    print(f"{FLAGS:,} flags, {ALLOWED:,} allowed users, {ON_ONE:,} of them on one flag")
    print(f"  {stock:34} {costs[stock] / 1e6:8.1f} ms")
    ratios = {name: costs[name] / costs[stock] for name in others}
    for name, ratio in ratios.items():
        print(f"  {name:34} {costs[name] / 1e6:8.1f} ms   ratio {ratio:.2f}")
    return int(max(ratios.values()) > MAX_RATIO)


def _fill() -> None:
    execute(*FILL, flags=FLAGS)
    execute(ADD_GUESTS, count=USERS)
    # The history of a million links would take longer than the links.
    disable_triggers(ALLOWED_USERS)
    execute(*LINKS, on_one=ON_ONE, others=OTHERS)
    enable_triggers(ALLOWED_USERS)
    disable_triggers("flagstaff_featureflag")
    execute(AGE)
    enable_triggers("flagstaff_featureflag")
    execute("UPDATE flagstaff_change SET at = at - interval '45 days'")
    execute(USAGE, OLD_USAGE, "VACUUM ANALYZE")


def _pages() -> dict[str, Callable[[], None]]:
    """Returns functions that open the pages as a superuser; the stock list is the first."""
    from django.contrib.admin import AdminSite, ModelAdmin, site
    from django.urls import path

    from flagstaff.models import FeatureFlag

    base: Any = ModelAdmin

    class StockAdmin(base):  # type: ignore[misc]
        """What a project would write without this package's admin."""

        list_display: tuple[str, ...] = (
            *("key", "description", "enabled", "rollout_percent", "owner", "tags", "changed_at"),
        )
        list_filter: tuple[str, ...] = ("enabled", "kind", "owner")
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

    client = client_of(superuser(), Urls)
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
    return {name: partial(open_page, client, url) for name, url in urls.items()}


if __name__ == "__main__":
    sys.exit(main())
