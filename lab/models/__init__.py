"""Operators and small networks: functions with explicit parameters, and torch modules with the same parameters."""
