"""Loaded by pytest before anything else: where it is, questions are answered directly.

Imports neither Django nor the extension, because the project's settings are not chosen yet.
"""

from __future__ import annotations
