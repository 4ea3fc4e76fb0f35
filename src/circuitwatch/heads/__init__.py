"""What each attention head does: a score in [0, 1] for every role, head and checkpoint."""
