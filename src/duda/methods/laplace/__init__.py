"""Laplace approximation: after training, a Gaussian about the weights of the last layer."""

from duda.methods.laplace.laplace import Laplace

__all__ = ["Laplace"]
