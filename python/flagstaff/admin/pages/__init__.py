"""The pages that are about no single row, each in a file."""
