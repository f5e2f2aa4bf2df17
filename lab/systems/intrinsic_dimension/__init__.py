"""Intrinsic dimension from neighbours: what estimators do, exactly, on sets where the answer is known.

Conventions. N points in rows, distances T_1 < T_2 < ... from a point to the others (itself left out), d the dimension,
``m_k`` the mean of ``ln(T_k/T_j)`` over j < k. If the probability of a ball of radius t is proportional to t^d near 0
(the circle with arc length, the 2-sphere with *chords*, flat tori while T_k < 1/2), then for *every* N > k the k - 1
logarithms ``ln(T_k/T_j)`` are order statistics of independent exponentials of rate d: nothing is asymptotic.

Traps. (a) The mean of the local estimates 1/m_k is d (k-1)/(k-2), not d; the mean of m_k is 1/d exactly; 1/mean(m_k)
is biased by its variance alone. (b) Neighbourhoods overlap: the variance of TwoNN is about 1.6 d²/N, not d²/N, and for
all pairs within a radius the factor is exactly 2: every distance serves two points. (c) A boundary biases more than
curvature: 500 points in the open cube of dimension 5 measure 4.6. (d) Curvature enters through the local exponent of
the ball's probability, and the 2-sphere with chords has none. (e) Covariances of a patch: normal eigenvalues are of
fourth order in its radius; a ball in the tangent coordinates and a geodesic ball differ in the next order.

Rooms: `lab.systems.intrinsic_dimension.theory` (closed forms and quadrature), `lab.models.dimension` (the estimators,
with intervals that know about the overlap), `lab.data.flattening` (test beds).

References
----------
.. [1] Levina, Bickel 2004, Maximum likelihood estimation of intrinsic dimension, NIPS 17.
.. [2] MacKay, Ghahramani 2005, comments on [1] (inverse of the mean of m_k).
.. [3] Facco, d'Errico, Rodriguez, Laio 2017, Scientific Reports 7, 12140 (TwoNN).
.. [4] Takens 1985, On the numerical determination of the dimension of an attractor, LNM 1125 (pairs within a radius).
"""
