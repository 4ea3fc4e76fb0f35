"""A sweep knows its state: which cells it was asked for (`plan`), what became of each job (`job`,
`failures`), and how far all of it is (`state`, which `circuitwatch status` prints).

Everything that is known is in files of the sweep's folder, since jobs run in other processes or on
other machines, and may be killed without a word:

    sweep.json                 the cells that were asked for, by the sweeps that were started there
    failed/<cell>.json         why a cell's last job failed; gone when it is started again
    failed/<cell>.log          its traceback, where the fault is not the user's
"""
