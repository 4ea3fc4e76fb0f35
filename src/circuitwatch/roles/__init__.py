"""Roles of heads and MLPs, one file each: what is measured, from when a head holds it and where
that number comes from, in which task it can be confirmed, how it is drawn (`catalogue.Role`).
"""
