"""Formats that a project may choose with FORMAT_MODULE_PATH."""
