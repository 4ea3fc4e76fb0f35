"""Chaos: whatever is damaged, misspelt or killed, circuitwatch says so in one line, or goes on; it
never ends in a traceback, hangs, or gives another result in silence.

    PYTHONPATH=tests .venv/bin/python -m benchmarks.chaos                    all parts
    PYTHONPATH=tests .venv/bin/python -m benchmarks.chaos records 6000 0     how many, first seed
    PYTHONPATH=tests .venv/bin/python -m benchmarks.chaos records 1 4711     one again, by its seed

Parts: records (files of cells), configs (options and suites), folders (of models), kills. Every
case is made from its seed alone, so that a failure is repeated by the command printed with it. The
counts go to multirun/bench/chaos.json.
"""
