"""The demo of a rollout plan: simulated users, a planted fault, and a guard that finds it.

`python -m tools.demo_rollout` leaves the shop running until Ctrl-C; with `--exit` it ends at once.
The exit status is 1 if the plan is not rolled back in time.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections.abc import Callable

from tools.demo import (
    chosen_port,
    jobs,
    manage,
    stop_on_signals,
    wait_for_answer,
    workers,
)
from tools.demo_commands import flags, say
from tools.limits import seconds
from tools.plan_watch import PlanWatch, Seen
from tools.ports import LOOPBACK
from tools.postgres import Postgres
from tools.shoppers import FAILED, Shop, Shoppers, log_in_all

KEY = "new_checkout"
THREADS = 6
FAULT_AT, FAULT_PERCENT = 25, 50
STEPS = ("5:8s", "25:1m", "50:1m", "100")
GUARDS = ("errors", "function=store.guards.orders")
# So few, because the shop has only 300 customers.
REQUIRED_USERS = 5
# The runs of the driver in which the plan must trip once the counts are enough.
MAX_RUNS = 2
TIMEOUT = 180.0
# Seconds between two lines with counts.
COUNTS_EVERY = 2.0

READY = """
  The plan    {address}/admin/flagstaff_rollouts/plan/{plan}/change/
  The crowd   {address}/crowd/
  The admin   {address}/admin/   log in as admin, password flagstaff

  Ctrl-C stops the demo and deletes its data.
"""


def main() -> int:
    """Runs the demo, and returns the exit status."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--exit", action="store_true", help="end after the trip")
    options = parser.parse_args()
    port = chosen_port("demo SCENE=rollout")
    stop_on_signals()
    with Postgres() as server:
        environment = os.environ | {"DATABASE_URL": server.url, "PORT": str(port)}
        for command in ("migrate", "seed"):
            manage(command, environment)
        flags(f"rollout {KEY} 0", environment)
        with (
            workers(environment) as master,
            jobs(environment, every=1),
            PlanWatch(server.url) as watch,
        ):
            wait_for_answer(port, master)
            wait_for(watch.driver_has_run)
            is_in_time = run_plan(Shop(port), environment, watch)
            if is_in_time and not options.exit:
                address = f"http://{LOOPBACK}:{port}"
                print(READY.format(address=address, plan=watch.plan_id()), flush=True)
                master.wait()
    return 0 if is_in_time else 1


def run_plan(shop: Shop, environment: dict[str, str], watch: PlanWatch) -> bool:
    """Runs the plan, and plants the fault. Returns whether the plan was rolled back in time."""
    users = log_in_all(environment)
    shoppers = Shoppers(shop, users)
    with shoppers.ordering(THREADS):
        say(f"{len(users)} simulated users order one after another, {THREADS} at a time")
        # The guard of the shop trips if there are no orders.
        wait_for(lambda: sum(shoppers.orders().values()) >= THREADS)
        flags(start_command(), environment)
        is_in_time = follow(watch)
    orders = shoppers.orders()
    say(f"of {sum(orders.values())} orders, {orders[FAILED]} failed")
    return is_in_time


def follow(watch: PlanWatch) -> bool:
    """Prints what happens until the workers have applied the trip. Plants the fault."""
    planted, shown = None, 0.0
    for found in watch.follow(seconds(TIMEOUT)):
        if isinstance(found, Seen):
            if time.monotonic() > shown + COUNTS_EVERY:
                shown = time.monotonic()
                say(f"  {found}")
            continue
        say(found.text)
        if found.kind == "step" and found.percent == FAULT_AT:
            planted = watch.set_value("checkout_fault_percent", FAULT_PERCENT)
            say(f"planted: {FAULT_PERCENT} % of the orders in the new checkout fail from now on")
        if found.kind == "tripped" and planted:
            took = (found.at - planted).total_seconds()
            say(f"  this was {took:.1f} s after the fault was planted")
        if found.kind == "propagated":
            after = found.figures["applied_after"] or 0.0
            say(f"0 % in {found.figures['applied']} workers {after:.3f} s after the commit")
            return planted is not None
        if watch.runs > MAX_RUNS:
            break
    say(f"the plan was not rolled back: {watch.runs} runs after the counts were enough")
    return False


def start_command() -> str:
    """Returns the command that starts the plan."""
    steps = "".join(f" --step {step}" for step in STEPS)
    guards = "".join(f" --guard {guard}" for guard in GUARDS)
    return f"plan start {KEY}{steps}{guards} --required-users {REQUIRED_USERS}"


def wait_for(is_done: Callable[[], bool]) -> None:
    """Waits for an event of the demo."""
    deadline = time.monotonic() + seconds(TIMEOUT)
    while not is_done():
        if time.monotonic() > deadline:
            sys.exit("the demo does not continue")
        time.sleep(0.05)


if __name__ == "__main__":
    sys.exit(main())
