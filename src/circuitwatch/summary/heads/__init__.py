"""From the records of heads to tables: who holds a role when, whether the algorithm stays, and what
circuits do elsewhere.
"""
