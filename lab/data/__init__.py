"""Generators of synthetic data, one file per kind of data; random ones take their source of randomness explicitly."""
