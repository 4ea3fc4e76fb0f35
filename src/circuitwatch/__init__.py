"""circuitwatch: a monitor of training dynamics that follows behaviours, circuits and head roles
over a model's checkpoints.
"""

__version__ = "0.1.0"
