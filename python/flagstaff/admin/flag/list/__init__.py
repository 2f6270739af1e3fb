"""The list of flags: its columns, filters and buttons."""
