"""Random tensors, `tg.random`: distributions with NumPy's names, from a counter-based generator.

Numbers are drawn where they are to be, by Philox 4x32-10 (Salmon et al. 2011): the same on every
backend bit for bit where they are whole or uniform, else to rounding. `tg.seed` sets them; each
thread draws from a generator of its own (see `seed`), `generator=` names another one.

Parameters may be tensors. Where a distribution is a transform of a fixed one (`loc` and `scale`,
the bounds of `uniform`) gradients flow to them, the reparameterisation of Kingma & Welling (2014);
elsewhere a parameter that requires a gradient is a GraphError. `size` is the shape of the result;
where it is left out, that of the parameters.
"""

from ..randomness import Generator, get_state, seed, set_state
from .continuous import (
    beta,
    dirichlet,
    exponential,
    gamma,
    gumbel,
    laplace,
    logistic,
    normal,
    truncated_normal,
    uniform,
)
from .counts import bernoulli, binomial, categorical, multinomial, poisson, randint
from .orders import choice, permutation, shuffle

__all__ = [
    "Generator",
    "bernoulli",
    "beta",
    "binomial",
    "categorical",
    "choice",
    "dirichlet",
    "exponential",
    "gamma",
    "get_state",
    "gumbel",
    "laplace",
    "logistic",
    "multinomial",
    "normal",
    "permutation",
    "poisson",
    "randint",
    "seed",
    "set_state",
    "shuffle",
    "truncated_normal",
    "uniform",
]
