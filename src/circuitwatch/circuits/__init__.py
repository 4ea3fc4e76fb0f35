"""Circuits: which edges of a model compute a behaviour.

A model, prompts and a metric in; numbers out.
"""
