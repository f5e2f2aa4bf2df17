"""Set-up of all tests and theory checks: before JAX starts, it is given threads enough."""

from lab.arrays import give_jax_threads

give_jax_threads()
