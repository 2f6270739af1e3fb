"""axe-core, the accessibility checker, in the page that a browser has open."""

from functools import cache
from typing import NamedTuple

from tests.system.browser.conftest import Visitor, required
from tools.npm_packages import ROOT, installed

_SERIOUS = ("serious", "critical")
_RUN = """
    const done = arguments[arguments.length - 1];
    // Half a transition has colors that no style sheet names.
    document.getAnimations().forEach(element => element.finish());
    const options = {resultTypes: ['violations'], elementRef: true};
    if (arguments[1].length) options.runOnly = arguments[1];
    axe.run(document, options).then(
        result => done(result.violations.flatMap(({id, impact, nodes}) => nodes.map(
            ({target, html, failureSummary, element}) => ({
                rule: id, impact, target: target.join(' '), html, why: failureSummary,
                excluded: arguments[0].some(([rule, selector]) =>
                    rule === id && element && element.matches(selector)),
            })))),
        error => done(String(error)));
"""


class Finding(NamedTuple):
    """One element that breaks a rule of axe-core."""

    rule: str
    impact: str
    target: str
    html: str
    why: str

    def __str__(self) -> str:
        reasons = " ".join(self.why.split())
        return f"{self.impact}: {self.rule}: {self.target}: {self.html[:200]}: {reasons}"


@cache
def _script() -> str:
    """The source of axe-core."""
    packages = required(lambda: installed("axe", "axe-core", ROOT / "target" / "axe"))
    return (packages / "axe-core" / "axe.min.js").read_text()


def findings(
    visitor: Visitor, excluded: tuple[tuple[str, str], ...] = (), rules: tuple[str, ...] = ()
) -> list[Finding]:
    """Returns the serious and critical findings on the open page, by these rules or by all.

    `excluded` has pairs of a rule and a selector: such elements may break that rule.
    """
    driver = visitor.driver
    if not driver.execute_script("return 'axe' in window"):
        driver.execute_script(_script())
    violations = driver.execute_async_script(_RUN, excluded, rules)
    assert isinstance(violations, list), violations
    return [
        Finding(
            violation["rule"],
            violation["impact"],
            violation["target"],
            violation["html"],
            violation["why"],
        )
        for violation in violations
        if violation["impact"] in _SERIOUS and not violation["excluded"]
    ]
