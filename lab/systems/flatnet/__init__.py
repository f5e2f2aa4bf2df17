"""Manifold flattening: layers that push a neighbourhood onto its tangent space, their inverses, and what they can do.

Conventions. Samples are rows. A layer has a centre mu, an orthonormal frame U (D, d), P = I - U U^T, and

.. math:: F(x) = x - k(x) P(x - \\mu), \\qquad k(x) = \\alpha e^{-\\gamma |x - \\mu|^2}, \\qquad \\gamma = \\ln 2/r^2,

then a shift and a division. The published decoder is ``z + k (P(z_c - mu) + V q(U^T (z - z_c)))``: the same kernel
value, times a quadratic model about the sample z_c. `II` is the second fundamental form, h'' of the surface as a graph.

Traps. (a) For alpha < 1 the layer is a diffeomorphism of the whole space with an exact inverse, one increasing scalar
equation per point; alpha is at most .5 in the published code, so every published network has this inverse, and its
decoder is another map. (b) Inverses amplify: prod 1/(1 - k) is an estimate, prod 1/(1 - alpha) the bound; exact
decoding works while the product is small against 1/eps. (c) The published centre is a local mean, which lies off the
surface by tr(h'')/(4 gamma): each layer then adds -(alpha/2) tr(h'') to every second derivative, and at alpha = .5 the
mean curvature changes sign from d = 3 on and grows beyond d = 6. Centred on the sample it shrinks by 1 - alpha. (d) A
closed curve cannot be flattened without folding; singular values do not show the fold: report turning points and the
least ratio of distances too. (e) The diameter that scales radii is that of the input, while layers rescale.

Rooms: `lab.systems.flatnet.theory` (closed forms), `lab.models.flatnet` (the network), `lab.models.flattening_layers`
(one layer and its inverses), `lab.data.flattening` (curves and surfaces).

References
----------
.. [1] arXiv:2305.01777, Psenka, Pai, Raman, Sastry, Ma 2023, Representation Learning via Manifold Flattening and
   Reconstruction; published code: michael-psenka/manifold-linearization.
"""
