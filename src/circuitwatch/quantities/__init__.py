"""Numbers of a checkpoint, one file each or one line of a list: what they are called, their unit
and range, how a rise of them is asked for, where they are drawn (`catalogue.Quantity`).
"""
