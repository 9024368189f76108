"""Oracles of special functions: SciPy's."""

import numpy as np
from scipy import special
from scipy.stats import norm

ORACLES = {
    **{n: getattr(special, n) for n in "erf erfc erfcx erfinv ndtr log_ndtr ndtri".split()},
    **{n: getattr(special, n) for n in "digamma i0 i0e i1 i1e".split()},
    "lgamma": special.gammaln,
    "polygamma": lambda x, n=1: special.polygamma(n, x),
    "zeta": lambda q, s: special.zeta(s, q),
    "gelu_erf": lambda x: x * norm.cdf(x),
    "gelu_erf_grad": lambda g, x: g * (norm.cdf(x) + x * norm.pdf(x)),
}
ORACLES = {name: lambda *xs, f=f, **o: np.asarray(f(*xs, **o)) for name, f in ORACLES.items()}
