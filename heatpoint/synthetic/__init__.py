"""Drawn data with exact labels: for demos, tests and first trials."""
