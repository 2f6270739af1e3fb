"""Rules: how long a load of many takes, and a kill of a flag whose rules cannot be read.

    python -m benches.rules           (beside a DATABASE_URL; `make bench` runs all)

A load is that of a new process, which parses all rules. Then one flag changes, and the same process
loads all flags again, but parses no rule. The kills are measured as the changes in
`benches.latency`, in turns with those of a flag without rules.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path
from statistics import median

ROOT = Path(__file__).resolve().parent.parent
if __package__ != "benches":
    sys.path[:0] = [str(ROOT)]

import psycopg  # noqa: E402 (the path comes first)

from benches._project import set_up  # noqa: E402
from benches.latency import follower, measure, show  # noqa: E402

SEGMENTS, FLAGS, PROCESSES, KILLS, ROUNDS = 100, 1_000, 9, 50, 4
FILL = f"""
    INSERT INTO flagstaff_segment (key, conditions)
    SELECT 'segment_' || n, jsonb_build_array(
        jsonb_build_object('attribute', 'plan', 'operator', 'in',
            'values', jsonb_build_array('plan ' || n, 'trial ' || n)),
        jsonb_build_object('attribute', 'seats', 'operator', 'gte', 'values', jsonb_build_array(n)))
    FROM generate_series(1, {SEGMENTS}) AS n;
    INSERT INTO flagstaff_featureflag (key, enabled, rollout_percent, rules)
    SELECT 'ruled_' || n, true, 50, jsonb_build_array(jsonb_build_object(
        'name', 'rule of flag ' || n, 'rollout_percent', 25, 'conditions', jsonb_build_array(
            jsonb_build_object('segment', 'segment_' || (1 + n % {SEGMENTS})),
            jsonb_build_object('attribute', 'country', 'operator', 'in',
                'values', jsonb_build_array('DE', 'AT', 'CH')))))
    FROM generate_series(1, {FLAGS}) AS n;
    UPDATE flagstaff_featureflag SET rules =
        '[{{"conditions": [{{"attribute": "plan", "operator": "isnull", "values": [true]}}]}}]'
        WHERE key = 'everyone';
"""  # noqa: S608 (numbers)
WITHOUT = "UPDATE flagstaff_featureflag SET rules = '[]', enabled = true WHERE key LIKE 'ruled_%'"
SET_RULES = "UPDATE flagstaff_featureflag SET rules = %s WHERE key = 'everyone'"


def main() -> None:
    """Measures and prints; in a measured process, measures itself."""
    if len(sys.argv) > 1:
        _load()
        return
    set_up()
    print(f"milliseconds of a load, median of {PROCESSES} processes")
    with psycopg.connect(os.environ["DATABASE_URL"], autocommit=True) as session:
        session.execute("DELETE FROM flagstaff_segment")
        session.execute(FILL.encode())
        _show_loads(f"{SEGMENTS} segments, {FLAGS:,} flags with a rule each")
        session.execute(WITHOUT)
        _show_loads(f"{SEGMENTS} segments, {FLAGS:,} flags without rules")
        _show_kills(session)
        session.execute("DELETE FROM flagstaff_segment")


def _show_loads(name: str) -> None:
    found = [_loads_of_a_process() for _ in range(PROCESSES)]
    first, again = (median(column) * 1000 for column in zip(*found, strict=True))
    print(f"  {name:48} first {first:6.1f}   after a change {again:6.1f}")


def _loads_of_a_process() -> tuple[float, float]:
    command = [sys.executable, "-m", "benches.rules", "load"]
    output = subprocess.run(command, cwd=ROOT, check=True, stdout=subprocess.PIPE, text=True)
    first, again = json.loads(output.stdout)
    return first, again


def _show_kills(session: psycopg.Connection) -> None:
    kinds = {"without rules": "[]", "with unreadable rules": '{"newer": true}'}
    taken: dict[str, list[float]] = {name: [] for name in kinds}
    with follower("results", LISTEN=True) as worker:
        for _ in range(ROUNDS):
            for name, rules in kinds.items():
                session.execute(SET_RULES, [rules])
                [changes] = measure(2 * KILLS, 0.025, 0.05, [worker])
                taken[name] += changes[::2]
    print(f"\n{ROUNDS * KILLS} kills each, milliseconds from COMMIT to the result in a process")
    base, *others = taken.items()
    show(*base)
    for name, figures in others:
        show(name, figures, base[1])


def _load() -> None:
    import django  # noqa: PLC0415

    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "tests.support.settings")
    django.setup()
    from flagstaff import flag_enabled, ready, status  # noqa: PLC0415
    from flagstaff.models import FeatureFlag  # noqa: PLC0415

    assert ready(30)  # noqa: S101
    assert flag_enabled("everyone")  # noqa: S101
    first = status().load_seconds
    FeatureFlag.objects.filter(key="everyone").update(enabled=False)
    while flag_enabled("everyone"):
        time.sleep(0.001)
    again = status().load_seconds
    FeatureFlag.objects.filter(key="everyone").update(enabled=True)
    print(json.dumps([first, again]))


if __name__ == "__main__":
    main()
