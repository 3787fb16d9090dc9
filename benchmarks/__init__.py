"""Everything that the README claims, measured. `python -m benchmarks` runs all of it."""
