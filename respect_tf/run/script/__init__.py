"""What runs a pipeline, here and in a saved folder.

These modules know numpy and the standard library of Python 3.9 alone. `run_script` joins them to
the `run_pipeline.py` of a saved folder, so there is one implementation of each thing.
"""
