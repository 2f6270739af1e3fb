"""Messages name a declared key as its text."""

from __future__ import annotations

from flagstaff import Flag
from flagstaff.changes.changed import command_line, quoted_command
from flagstaff.validators import key_problem


def test_command_in_a_message_has_the_text_of_the_key() -> None:
    key = Flag("new_checkout")
    assert quoted_command("history", key) == '"manage.py flags history new_checkout"'
    assert command_line("undo", key, "7") == "python manage.py flags undo new_checkout 7"


def test_declared_key_is_a_valid_key() -> None:
    assert key_problem(Flag("new_checkout")) is None
