"""Notebooks and scripts, all of which CI runs."""
