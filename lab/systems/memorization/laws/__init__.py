"""The laws of the system memorization, one file per subject, as in `lab.systems.memorization.theory`."""

from lab.systems.memorization.laws.transition import TRANSITION

__all__ = ["TRANSITION"]
