"""The laws of the system mcr2, one file per section: rates, thresholds, maxima, critical points."""

from lab.systems.mcr2.laws.thresholds import BASIN_SEPARATRIX, CRITICAL_SINGULAR_VALUES, MAXWELL, SPINODAL

__all__ = ["BASIN_SEPARATRIX", "CRITICAL_SINGULAR_VALUES", "MAXWELL", "SPINODAL"]
