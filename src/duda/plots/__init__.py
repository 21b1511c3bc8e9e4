"""Plots with matplotlib: every function takes data and `ax=None`, and returns the Axes.

They take arrays, not results, so that a result can draw itself by its own `plot`.
"""

__all__: list[str] = []
