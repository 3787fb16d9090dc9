"""Damaged files against the promise: an error of ours, no death, no hang, no memory without limit.

`python -m benchmarks.fuzz` mutates small files of every kind that respect_tf reads, with the
structure of the files in mind, and opens each through the command line or the function that users
call. Mutants run in child processes under a limit of memory and a watchdog; a mutant is a function
of entry, seed and number, so one line is enough to repeat it.
"""
