"""Reads the project's files without running them: keys as text, and where code uses a key."""
