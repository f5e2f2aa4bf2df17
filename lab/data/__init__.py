"""Generators of synthetic data, one file per kind of data; every random one takes its source of randomness explicitly."""
