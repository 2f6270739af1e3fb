"""Simulates rollout plans and experiments, to measure false results: `make sim`."""
