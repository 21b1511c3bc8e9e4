"""SWAG: weights drawn from the Gaussian that the iterates of stochastic gradient descent make."""

from duda.methods.swag.swag import SWAG

__all__ = ["SWAG"]
