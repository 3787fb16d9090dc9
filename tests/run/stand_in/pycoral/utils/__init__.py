"""Stands in for Google's pycoral."""
