"""Simulates experiments, to measure false results and lengths: `make sim`."""
