"""Chaos: whatever is damaged or misspelt, circuitwatch says so in one line, or goes on; it never
ends in a traceback, hangs, or gives another result in silence.

    PYTHONPATH=tests .venv/bin/python -m benchmarks.chaos                    all parts
    PYTHONPATH=tests .venv/bin/python -m benchmarks.chaos records 6000 0     how many, first seed
    PYTHONPATH=tests .venv/bin/python -m benchmarks.chaos records 1 4711     one again, by its seed

Parts: records (files of cells, and of transfer beside them), configs (options, suites, task files,
templates, results of other programs), kills (commands that are killed and gone on with), folders
(damaged checkpoints). Every case is made from its seed alone, so that a failure is repeated by the
command printed with it. The counts go to multirun/bench/chaos.json.

What can't be told is counted apart ("nothing contradicts it"): a plausible number in the place of
another, under a hash that was made to fit, or in a file that has none, which only its maker could
know to be another.
"""
