"""axe-core on every page of the admin, in dark on a desktop, in light on a phone.

Each page fits, and what one clicks on it is large enough.

A page with a finding leaves a screenshot in build/screenshots.
"""

from collections.abc import Iterator

import pytest

from tests.system.browser import axe
from tests.system.browser.axe import findings
from tests.system.browser.conftest import Shop, Visitor
from tests.system.browser.layout import OVERFLOW, SMALL_TARGETS
from tests.system.browser.screenshots import VIEWS, save_screenshot
from tools.console_pages import PAGES, Rows, fill, open_page

# The rules of axe-core for each width: all on a desktop, which hides nothing that a phone shows,
# and on a phone those that read styles.
RULES: dict[int, tuple[str, ...]] = {
    1280: (),
    400: ("color-contrast", "link-in-text-block", "scrollable-region-focusable"),
}
# Rules that Django's own markup breaks, with the elements that do.
DJANGO = (
    # Select2, which Django ships, gives the box of its list of users no label.
    ("label", ".select2-search__field"),
    # Its list of chosen users has its placeholder or its announcements beside the items.
    ("list", ".select2-selection__rendered"),
    # "7 total" beside the number of results: a link without an underline.
    ("link-in-text-block", "#changelist-search a[href='?']"),
    # The links of the breadcrumbs stand in a bar of their own, without underlines.
    ("link-in-text-block", ".breadcrumbs > a"),
)


pytestmark = pytest.mark.timeout(300)


@pytest.fixture(scope="module")
def rows(shop: Shop) -> Rows:
    return fill(shop.query, shop.environment)


@pytest.fixture
def admin(logged_in: Visitor) -> Iterator[Visitor]:
    """The browser of a staff user, in its usual size and scheme after the test."""
    yield logged_in
    logged_in.reset_width()
    logged_in.set_scheme("light")


# Those of one user in a row, because a log-in takes as long as some pages.
@pytest.mark.parametrize(
    "name", [name for name, _ in sorted(PAGES.items(), key=lambda item: item[1].user)]
)
def test_page_fits_has_large_targets_and_no_serious_finding(
    name: str, admin: Visitor, rows: Rows
) -> None:
    open_page(admin, PAGES[name], rows)
    where_by_problem: dict[str, list[str]] = {}
    for scheme, width in VIEWS:
        admin.set_scheme(scheme)
        admin.set_width(width)
        wider = [f"does not fit: {wide}" for wide in admin.driver.execute_script(OVERFLOW)]
        small = [f"is small: {target}" for target in admin.driver.execute_script(SMALL_TARGETS)]
        problems = [*wider, *small, *map(str, findings(admin, DJANGO, RULES[width]))]
        for problem in problems:
            where_by_problem.setdefault(problem, []).append(f"{scheme} {width}")
        if problems:
            save_screenshot(admin, f"{name}-{scheme}-{width}")
    assert not where_by_problem, "\n".join(
        f"{', '.join(where)}: {what}" for what, where in where_by_problem.items()
    )


def test_box_without_a_label_is_found(admin: Visitor) -> None:
    admin.visit("/admin/")
    admin.driver.execute_script(
        "document.querySelector('#content').append(document.createElement('textarea'))"
    )
    [finding] = findings(admin, DJANGO)
    assert (finding.rule, finding.impact) == ("label", "critical")
    assert findings(admin, (*DJANGO, ("label", "#content > textarea"))) == []


def test_missing_axe_fails_where_a_browser_is_required(
    admin: Visitor, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise LookupError("npm is needed to download axe-core: install Node.js")

    axe._script.cache_clear()
    monkeypatch.setattr(axe, "installed", fail)
    monkeypatch.setenv("REQUIRE_BROWSER", "1")
    admin.visit("/admin/")
    with pytest.raises(pytest.fail.Exception, match=r"REQUIRE_BROWSER=1, .* axe-core"):
        findings(admin)
