"""Special functions over their whole range, beside SciPy: tails, edges, halves, large arrays."""

import math

import numpy as np
import pytest
from scipy import special

import tensorgrad as tg

pytestmark = pytest.mark.host

INF, NAN = math.inf, math.nan
WIDE = np.concatenate([np.linspace(-38, 38, 2001), np.geomspace(1e-300, 1e-3, 50)])
POSITIVE = np.concatenate([np.linspace(0.01, 30, 2001), np.geomspace(1e-300, 1e300, 101)])
NEGATIVE = np.linspace(-9.97, -0.03, 500)
CHANCES = np.concatenate([np.linspace(0, 1, 1001), np.geomspace(1e-300, 1e-3, 50)])
SIGNED = 1 - np.concatenate([np.geomspace(1e-15, 1, 101), 2 - np.geomspace(1e-15, 1, 101)])
EDGES = np.array([-INF, INF, NAN, -2.0, -0.0, 0.0, 1.0, -1e300])
# name -> (SciPy's, numbers, relative tolerance: SciPy's own error in the tails)
CASES = {
    "erf": (special.erf, WIDE, 1e-15),
    "erfc": (special.erfc, WIDE, 2e-13),
    "erfcx": (special.erfcx, np.concatenate([WIDE[500:], POSITIVE]), 1e-12),
    "ndtr": (special.ndtr, WIDE, 1e-12),
    "log_ndtr": (special.log_ndtr, np.concatenate([WIDE, -POSITIVE[:-60]]), 1e-12),
    "ndtri": (special.ndtri, CHANCES, 4e-15),
    "erfinv": (special.erfinv, SIGNED, 4e-15),
    "lgamma": (special.gammaln, np.concatenate([POSITIVE, NEGATIVE]), 1e-12),
    "digamma": (special.digamma, np.concatenate([POSITIVE, NEGATIVE]), 2e-12),
    "i0": (special.i0, np.concatenate([WIDE, [700.0]]), 4e-15),
    "i1": (special.i1, np.concatenate([WIDE, [-700.0]]), 4e-15),
    "i0e": (special.i0e, np.concatenate([WIDE, POSITIVE]), 4e-15),
    "i1e": (special.i1e, np.concatenate([WIDE, -POSITIVE]), 4e-15),
    "k0": (special.k0, POSITIVE[POSITIVE < 700], 4e-15),
    "k1": (special.k1, POSITIVE[POSITIVE < 700], 4e-15),
}


def near(ours, theirs, rtol):
    """Equal to a relative tolerance, but for subnormal numbers."""
    np.testing.assert_allclose(ours, theirs, rtol=rtol, atol=3e-308)


@pytest.mark.parametrize("name", CASES)
def test_doubles_over_the_whole_range(name):
    theirs, x, rtol = CASES[name]
    x = np.concatenate([x, EDGES[:-2] if name == "lgamma" else EDGES])
    x = x[~((x == -INF) & (name == "lgamma"))]  # SciPy says -infinity
    for mode in ("reference", "always"):
        with tg.use_kernels(mode):
            near(getattr(tg, name)(x).numpy(), theirs(x), rtol)


# of 40 digits, as SciPy loses some in the tails
EXACT = {
    "erfc": ([5.1, 12.3, 26.1], [5.49382021755532e-13, 9.029925149482068e-68,
                                 3.081217493314593e-298]),
    "erfcx": ([-5.1, 0.3, 1e7], [395393449413.72504, 0.7345993345676551, 5.6418958354775346e-08]),
    "ndtr": ([-7.7, -21.3, -37.1], [6.803311540773961e-15, 5.676056162135483e-101,
                                    1.4047119663106221e-301]),
    "log_ndtr": ([-60.3, -1.1, 0.4], [-1823.063545468798, -1.997558846986297,
                                      -0.42247637022777607]),
}  # fmt: skip


@pytest.mark.parametrize("name", EXACT)
def test_tails_have_all_digits(name):
    x, wanted = EXACT[name]
    near(getattr(tg, name)(np.array(x)).numpy(), wanted, 1e-15)


@pytest.mark.parametrize("name", CASES)
def test_halves_are_rounded_once(name):
    theirs, x, _ = CASES[name]
    x = x[np.abs(x) < 6e4].astype("float16")
    wanted = theirs(x.astype("float64")).astype("float16")
    np.testing.assert_array_equal(getattr(tg, name)(x).numpy(), wanted)


def test_near_the_zeros_of_lgamma_and_digamma():
    step = np.array([1e-12, -1e-9, 1e-6, -1e-4])
    near(tg.lgamma(1 + step).numpy(), (1 + step - 1) * (special.digamma(1) + step * 0.8225), 1e-7)
    zero = 1.4616321449683623
    slope = special.polygamma(1, zero)
    near(tg.digamma(zero + step[2:]).numpy() / slope, (zero + step[2:]) - zero, 1e-4)


@pytest.mark.parametrize("n", [0, 1, 2, 5])
def test_derivatives_of_digamma(n):
    x = np.concatenate([np.linspace(0.05, 40, 200), NEGATIVE[::7]])
    wanted = special.digamma(x) if n == 0 else special.polygamma(n, x)
    near(tg.polygamma(n, x).numpy(), wanted, 1e-11)


def test_zeta_betaln_and_the_multivariate_gamma_function():
    q = np.concatenate([np.linspace(0.05, 40, 100), [1e10, 0.0, -3.0]])
    for s in (1.001, 2.0, 2.5, 20.0):
        near(tg.zeta(s, q).numpy(), special.zeta(s, q), 1e-14)
    assert np.isnan(tg.zeta(2.5, -0.5).item())
    a, b = np.linspace(0.1, 9, 20), np.linspace(3, 0.5, 20)[:, None]
    np.testing.assert_allclose(tg.betaln(a, b).numpy(), special.betaln(a, b), atol=1e-14)
    want = [special.multigammaln(v, 3) for v in (1.5, 4.0)]
    near(tg.multigammaln(np.array([1.5, 4.0]), 3).numpy(), want, 1e-14)
    for call in (lambda: tg.polygamma(-1, a), lambda: tg.zeta(1.0), lambda: tg.multigammaln(a, 0)):
        with pytest.raises(tg.ArgumentError, match=r"polygamma|zeta|multigammaln"):
            call()


def test_large_arrays_are_computed_in_blocks():
    x = np.linspace(-4, 4, 3 * 8192 + 1).reshape(-1, 1)
    with tg.use_kernels("reference"):
        near(tg.erf(x).numpy(), special.erf(x), 1e-15)
        near(tg.erf(x[::-1].T).numpy(), special.erf(x[::-1].T), 1e-15)


def test_gelu_takes_its_form_by_a_word():
    x = np.array([-9.0, -2.0, 0.5, 3.0])
    exact = x * special.ndtr(x)
    near(tg.gelu(x, approximate="none").numpy(), exact, 1e-14)
    assert 1e-5 < np.abs(tg.gelu(x).numpy() - exact).max() < 1e-3
    near(tg.nn.GELU(approximate="none")(x).numpy(), exact, 1e-14)
    with pytest.raises(tg.ArgumentError, match=r"gelu: approximate='erf'.*none"):
        tg.gelu(x, approximate="erf")
