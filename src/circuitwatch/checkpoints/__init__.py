"""Where weights come from: which checkpoints there are, which of them are watched, and loading
one.
"""
