"""The cost of an evaluation through OpenFeature's SDK, as a ratio to the SDK without a system.

    python -m benches.openfeature      (beside a DATABASE_URL; `make bench` runs all)

The providers of LaunchDarkly and flagd are measured beside it if they are installed
(launchdarkly-openfeature-server, openfeature-provider-flagd), with local data and without a server.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from benches._project import set_up
from benches.evaluation import ROUNDS, round_of

CALLS = 2_000
KEY = "flag_7"


def main() -> None:
    """Measures and prints."""
    set_up()
    candidates = _candidates()
    best = dict.fromkeys(candidates, float("inf"))
    for _ in range(ROUNDS):
        for name, function in candidates.items():
            best[name] = min(best[name], round_of(function, CALLS))
    base = best["the SDK without a provider"]
    for name, nanoseconds in best.items():
        print(f"{name:40}{nanoseconds / 1000:8.2f} µs{nanoseconds / base:8.2f}")


def _candidates() -> dict[str, Callable[[], object]]:
    from openfeature import api
    from openfeature.evaluation_context import EvaluationContext
    from openfeature.provider.no_op_provider import NoOpProvider

    from flagstaff import flag_enabled
    from flagstaff.contrib.openfeature import FlagstaffProvider

    providers: dict[str, Any] = {
        "the SDK without a provider": NoOpProvider(),
        "flagstaff": FlagstaffProvider(),
    }
    if find_spec("ld_openfeature"):
        providers["LaunchDarkly"] = _launchdarkly()
    # The namespace is there: the provider of OFREP, which tests need, is in it.
    if find_spec("openfeature.contrib.provider.flagd"):
        providers["flagd, in process"] = _flagd()
    context = EvaluationContext("42", {"country": "AT"})

    def evaluation(domain: str) -> Callable[[], object]:
        client = api.get_client(domain)
        return lambda: client.get_boolean_value(
            KEY, default_value=False, evaluation_context=context
        )

    for domain, provider in providers.items():
        api.set_provider_and_wait(provider, domain)
    # A user for whom all say the same, as far as they can.
    for domain in providers:
        details = api.get_client(domain).get_boolean_details(
            KEY, default_value=False, evaluation_context=context
        )
        print(f"{domain:40}{details.value!s:>8}  {details.reason}")
    functions = {domain: evaluation(domain) for domain in providers}
    return functions | {"flag_enabled": lambda: flag_enabled(KEY, "42", context={"country": "AT"})}


def _launchdarkly() -> Any:
    from ld_openfeature import LaunchDarklyProvider
    from ldclient import Config
    from ldclient.integrations.test_data import TestData

    data = TestData.data_source()
    data.update(data.flag(KEY).boolean_flag().variation_for_all(variation=True))
    return LaunchDarklyProvider(Config("sdk", update_processor_class=data, send_events=False))


def _flagd() -> Any:
    from openfeature.contrib.provider.flagd import FlagdProvider
    from openfeature.contrib.provider.flagd.config import ResolverType

    rule = {"fractional": [["on", 50], ["off", 50]]}
    flag = {
        "state": "ENABLED",
        "variants": {"on": True, "off": False},
        "defaultVariant": "off",
        "targeting": rule,
    }
    path = Path(tempfile.mkdtemp()) / "flags.json"
    path.write_text(json.dumps({"flags": {KEY: flag}}))
    return FlagdProvider(resolver_type=ResolverType.FILE, offline_flag_source_path=str(path))


if __name__ == "__main__":
    main()
