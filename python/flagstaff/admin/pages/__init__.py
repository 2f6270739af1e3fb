"""The pages that are about no single row."""
