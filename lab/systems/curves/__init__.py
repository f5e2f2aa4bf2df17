"""Deep networks on curves: the neural tangent kernel of deep ReLU networks, restricted to curves on a sphere.

Conventions. Samples are rows, of unit length, and angles are ``2 arcsin(|x - x'|/2)``. The network has L hidden layers
of n units without biases, ``a_0 = x, a_l = relu(W_l a_{l-1}), f = W_{L+1} a_L``; hidden weights are N(0, 2/n), those of
the *first* layer too (not 2/n_0), the last are N(0, 1). The kernel is that of all weights,
``Theta(x, x') = <grad f(x), grad f(x')>``, of mean ``1 + n L/2`` on the diagonal; as n grows it tends to

.. math:: \\Theta_\\infty = \\cos\\varphi^{(L)} + n\\,\\psi_1,

functions of the angle alone (`lab.models.angle_kernels`), where the hidden kernel psi_1 is the skeleton psi but for
terms of order 1/L. Everything that says *per unit of width* leaves out the n.
A density mu on the curves, uniform in arclength, makes the kernel an operator; of N points it is the matrix ``Theta/N``
(weights 1/N are part of it). The loss is ``(1/2) E_mu (f - y)²``, so gradient descent of step tau multiplies mode j of
the error ``f - y`` by ``1 - tau lambda_j``. Two curves carry the labels +1 and -1; ``z = L Delta/(3 pi)`` measures
their separation Delta (an angle) in units of the kernel's cusp.

Traps. (a) Angles by arccos of inner products lose half of the digits, and the kernel has its cusp there. (b) N points
see the cusp only if there are ten of them in its width ``3 pi/(L v)``, v the length over 2 pi. (c) The skeleton and the
full kernel differ by 26 % at L = 10, 6 % at L = 30; only the skeleton is decreasing and convex. (d) Removing the
constant psi(pi) from the kernel changes the sum mode of two curves, and certificates of unequal ones, but never the
difference mode of a symmetric pair. (e) Deeper is better for the size of certificates, not for the ratio of the two
eigenvalues that decides how many steps a stable gradient descent takes.

Rooms: `lab.systems.curves.theory` (closed forms), `lab.models.angle_kernels` (limit kernels, numpy, torch and jax),
`lab.models.relu_networks` (finite width), `lab.data.curves` (curves and their geometry). `kernel_test` holds anyone's
kernel or initialisation against the exact law of finite width.

References
----------
.. [1] arXiv:2008.11245, Buchanan, Gilboa, Wright 2020, Deep networks and the multiple manifold problem.
.. [2] arXiv:2107.14324, Wang, Buchanan, Gilboa, Wright 2021, Deep networks provably classify data on curves.
"""

from typing import Any

__all__ = ["kernel_test"]


def __getattr__(name: str) -> Any:
    if name in __all__:
        from lab.systems.curves import ntk_test

        return getattr(ntk_test, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
