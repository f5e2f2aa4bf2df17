r"""Closed curves on the unit sphere, one or two, sampled at equal steps of arclength, with their geometry.

Rows are samples. Coaxial circles and symmetric pairs carry the labels +1 and -1; every curve of a pair has as many
points. On *orbit curves*

.. math:: x(t) = \big(c_k (\cos kt, \sin kt)\big)_k, \qquad \textstyle\sum_k c_k^2 = 1

all points are alike, so every function of the angle is an exactly circulant matrix, and
:math:`1 - \cos \angle = \sum_k 2 c_k^2 \sin^2(k\tau/2)`; circles, torus knots and helices are among them. A small c_1
next to frequency m winds m times close to itself. Angles come from ``1 - cos``, which keeps its digits at small angles.

The angle injectivity radius and the clover number follow arXiv:2107.14324 with ``kh = max(kappa_g, 2/pi)``, kappa_g the
largest geodesic curvature and d_M the distance along the curve (infinite between curves):

.. math:: \Delta_\varepsilon = \min\Big\{\frac{\sqrt\varepsilon}{kh},
    \inf_{d_M(x, x') \ge \sqrt\varepsilon/kh} \angle(x, x')\Big\}.
"""

from lab.data.curves.fourier import fourier_curve
from lab.data.curves.geometry import angle_injectivity, clover_number, curvatures, rotated
from lab.data.curves.homogeneous import (
    coaxial,
    coaxial_angles,
    orbit_angle,
    orbit_cross_angle,
    orbit_curve,
    orbit_geometry,
    orbit_pair,
    pair_angles,
    symmetric_pair,
)
from lab.data.curves.sample import Curves

__all__ = [
    "Curves",
    "angle_injectivity",
    "clover_number",
    "coaxial",
    "coaxial_angles",
    "curvatures",
    "fourier_curve",
    "orbit_angle",
    "orbit_cross_angle",
    "orbit_curve",
    "orbit_geometry",
    "orbit_pair",
    "pair_angles",
    "rotated",
    "symmetric_pair",
]
