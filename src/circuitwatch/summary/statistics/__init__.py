"""What is said of curves and sizes: when one rises, how that goes with size, what came first, what
stays. Arrays in, numbers out; no files, no figures.
"""
