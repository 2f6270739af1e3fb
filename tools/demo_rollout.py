"""The demo of a rollout plan: simulated users, a planted fault, and a guard that finds it.

`python -m tools.demo_rollout` leaves the shop running until Ctrl-C. The exit status is 1 if the
plan is not rolled back in time.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import psycopg

from tools.demo import (
    chosen_port,
    flags,
    jobs,
    new_shop,
    say,
    stop_on_signals,
    wait_for_answer,
    workers,
)
from tools.limits import seconds
from tools.ports import LOOPBACK
from tools.shoppers import FAILED, Shop, Shoppers, log_in_all

KEY = "new_checkout"
THREADS = 6
FAULT_AT, FAULT_PERCENT = 25, 50
STEPS = ("5:8s", "25:1m", "50:1m", "100")
GUARDS = ("errors", "function=store.guards.orders")
# So few, because the shop has only 300 customers.
REQUIRED_USERS = 5
TIMEOUT = 180.0
PAUSE = 0.1

READY = """
  The plan    {address}/admin/flagstaff_rollouts/plan/{plan}/change/
  The crowd   {address}/crowd/
  The admin   {address}/admin/   log in as admin, password flagstaff

  Ctrl-C stops the demo and deletes its data.
"""
_PLAN = "SELECT id, steps, step FROM flagstaff_rollouts_plan ORDER BY id DESC LIMIT 1"
_EVENTS = """
    SELECT id, at, kind, message, figures FROM flagstaff_rollouts_planevent
    WHERE id > %s ORDER BY id
"""
_PLANT = """
    UPDATE flagstaff_keyvaluestore SET value = %s::jsonb WHERE key = 'checkout_fault_percent'
    RETURNING clock_timestamp()
"""
Session = psycopg.Connection[Any]


@dataclass(frozen=True)
class Event:
    """An event of the plan, and the step at that time."""

    at: datetime
    kind: str
    text: str
    figures: dict[str, Any]
    step: str


def main() -> int:
    """Runs the demo, and returns the exit status."""
    port = chosen_port("demo SCENE=rollout")
    stop_on_signals()
    with new_shop(port) as (url, environment):
        flags(f"rollout {KEY} 0", environment)
        with (
            workers(environment) as master,
            jobs(environment, every=1),
            psycopg.connect(url, autocommit=True) as session,
        ):
            wait_for_answer(port, master)
            driver = "SELECT FROM flagstaff_rollouts_driverrun"
            wait_for(lambda: session.execute(driver).fetchone() is not None)
            if not run_plan(Shop(port), environment, session):
                return 1
            [plan, *_] = session.execute(_PLAN).fetchone() or [None]
            print(READY.format(address=f"http://{LOOPBACK}:{port}", plan=plan), flush=True)
            master.wait()
    return 0


def run_plan(shop: Shop, environment: dict[str, str], session: Session) -> bool:
    """Runs the plan, and plants the fault. Returns whether the plan was rolled back in time."""
    users = log_in_all(environment)
    shoppers = Shoppers(shop, users)
    with shoppers.ordering(THREADS):
        say(f"{len(users)} simulated users order one after another, {THREADS} at a time")
        # The guard of the shop trips if there are no orders.
        wait_for(lambda: sum(shoppers.orders().values()) >= THREADS)
        flags(start_command(), environment)
        is_in_time = follow(session)
    orders = shoppers.orders()
    say(f"of {sum(orders.values())} orders, {orders[FAILED]} failed")
    return is_in_time


def follow(session: Session) -> bool:
    """Prints what happens until the workers have applied the trip. Plants the fault."""
    planted = None
    for event in events(session):
        say(event.text)
        if event.kind == "step" and event.step.startswith(f"{FAULT_AT}:"):
            [planted] = session.execute(_PLANT, [str(FAULT_PERCENT)]).fetchone() or [None]
            say(f"planted: {FAULT_PERCENT} % of the orders in the new checkout fail from now on")
        if event.kind == "tripped" and planted:
            took = (event.at - planted).total_seconds()
            say(f"  this was {took:.1f} s after the fault was planted")
        if event.kind == "propagated":
            after = event.figures["applied_after"] or 0.0
            say(f"0 % in {event.figures['applied']} workers {after:.3f} s after the commit")
            return planted is not None
    say("the plan was not rolled back")
    return False


def events(session: Session) -> Iterator[Event]:
    """Yields each event of the newest plan, until the time is over."""
    last, deadline = 0, time.monotonic() + seconds(TIMEOUT)
    while time.monotonic() < deadline:
        [_, steps, step] = session.execute(_PLAN).fetchone() or [None, [], None]
        for row in session.execute(_EVENTS, [last]).fetchall():
            last, *columns = row
            at, kind, text, figures = columns
            yield Event(at, kind, text, figures, "" if step is None else steps[step])
        time.sleep(PAUSE)


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
