"""The text in place of a secret value."""

from __future__ import annotations

#: Pages, the terminal and exports show it. An import that has it keeps the stored value.
MASK = "••••••"
