"""Turning points of a coordinate along a flattened curve."""

from __future__ import annotations

__all__ = ["least_turning_points"]


def least_turning_points(closed):
    """Least number of turning points of any coordinate along a curve: 2 if it is closed, 0 otherwise.

    A continuous function on a circle takes its maximum and its minimum; whatever the layers, the image is such a
    function of the position on the curve. An open curve has no such obstruction.
    """
    return 2 if closed else 0
