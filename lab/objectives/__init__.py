"""Objectives as array functions on NumPy, PyTorch and JAX: coding rates and their relatives, one module each."""
