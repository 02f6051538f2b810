"""Training runs, from names to records: one, or the many of a study side by side."""
