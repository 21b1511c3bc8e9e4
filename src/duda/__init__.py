"""Uncertainty for any PyTorch network: estimate it, check it, decide with it."""
