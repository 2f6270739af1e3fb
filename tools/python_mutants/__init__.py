"""Mutations of the Python package, and the tests that catch them: `make mutants-python`."""
