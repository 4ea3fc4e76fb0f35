"""The one kind of error a user can cause and mend."""


class UserError(Exception):
    """One line for the user: what is wrong, where, and what would be right."""
