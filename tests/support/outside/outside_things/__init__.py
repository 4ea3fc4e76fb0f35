"""A user's package: a task, a role and a quantity, one file each, announced by entry points."""
