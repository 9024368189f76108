"""Linear algebra where matrices are singular, degenerate, complex, halves or on a GPU; its errors
and NumPy's call forms. (Values and gradients of all else: tests/vocabulary/linalg.py.)"""

import numpy as np
import pytest

import tensorgrad as tg
from tensorgrad.dispatch import watched
from tensorgrad.testing import draw, gradcheck

ONE = np.eye(3)
RANK2 = np.array([[1.0, 2, 3], [4, 5, 6], [5, 7, 9]])


def gradient(f, a):
    x = tg.tensor(a, requires_grad=True)
    f(x).backward()
    return x.grad.numpy()


# --- where there is no gradient, or no single one -------------------------------------------------

CONVENTIONS = {
    "the largest of equal eigenvalues": (lambda x: tg.linalg.eigvalsh(x).max(), ONE, ONE / 3),
    "a function of equal eigenvalues": (lambda x: (tg.linalg.eigvalsh(x) ** 2).sum(), ONE, 2 * ONE),
    "eigenvalues of eigh": (lambda x: tg.linalg.eigh(x)[0].sum(), ONE, ONE),
    "eigenvectors": (lambda x: (tg.linalg.eigh(x)[1] ** 3).sum(), ONE, np.full((3, 3), np.nan)),
    "singular values": (lambda x: tg.linalg.svd(x)[1].sum(), ONE, ONE),
    "singular vectors": (lambda x: (tg.linalg.svd(x)[0] ** 3).sum(), ONE, np.full((3, 3), np.nan)),
    "the 2-norm": (lambda x: tg.linalg.norm(x, 2), ONE, ONE / 3),
    "a norm at 0": (tg.linalg.norm, 0 * ONE, 0 * ONE),
    "a 3-norm at 0": (lambda x: tg.linalg.vector_norm(x, ord=3), 0 * ONE, 0 * ONE),
    "an odd norm of some 0": (lambda x: tg.linalg.vector_norm(x, ord=0.5), ONE, 3 * ONE),
    "det of rank n - 1": (tg.linalg.det, np.diag([1.0, 2, 0]), np.diag([0.0, 0, 2])),
    "det of rank n - 2": (tg.linalg.det, np.diag([1.0, 0, 0]), 0 * ONE),
    "a triangle of a": (
        lambda x: tg.linalg.cholesky(x).sum(),
        np.array([[4.0, 99], [0, 9]]),
        np.array([[1 / 4, 1 / 4], [1 / 4, 1 / 6]]),
    ),
}


@pytest.mark.parametrize("name", CONVENTIONS)
def test_conventions(name):
    f, a, expected = CONVENTIONS[name]
    np.testing.assert_allclose(gradient(f, a), expected, atol=1e-12)


@pytest.mark.parametrize("order", [0.5, 1, 2, 3, np.inf])
def test_norms_of_nothing_but_0(order):
    assert tg.linalg.vector_norm(
        [[0.0, 0.0], [3.0, 0.0]], ord=order, axis=1
    ).tolist() == pytest.approx([0, 3])


def test_the_determinant_of_a_batch_with_singular_matrices():
    a = np.stack([RANK2, ONE, 0 * ONE])
    g = gradient(lambda x: tg.linalg.det(x).sum(), a)
    np.testing.assert_allclose(g, [np.cross(m[[1, 2, 0]], m[[2, 0, 1]]) for m in a], atol=1e-12)


def test_what_has_no_gradient_is_an_error():
    tall = tg.tensor(draw((3, 2)), requires_grad=True)
    for call in (tg.linalg.svd, lambda x: tg.linalg.qr(x, "complete")):
        with pytest.raises(tg.GraphError, match=r"\(3, 2\).*without a gradient"):
            call(tall)
        assert call(tall.detach())[0].shape == (3, 3)


@pytest.mark.host
@pytest.mark.parametrize("call", [lambda x: tg.linalg.qr(x)[0], lambda x: tg.linalg.slogdet(x)[1]])
def test_a_gradient_that_needs_an_inverse(call):
    with pytest.raises(tg.LinAlgError, match="singular"):
        gradient(lambda x: call(x).sum(), np.zeros((2, 2)))


# --- errors ---------------------------------------------------------------------------------------

BATCH = np.stack([ONE, -ONE, ONE])
SINGULAR = np.stack([ONE, 0 * ONE])
ERRORS = {
    "cholesky": (
        lambda: tg.linalg.cholesky(BATCH),
        r"cholesky.*\[1\] of the batch \[3\].*positive",
    ),
    "inv": (
        lambda: tg.linalg.inv(SINGULAR[None]),
        r"inv.*\[0, 1\] of the batch \[1, 2\].*singular",
    ),
    "solve": (lambda: tg.linalg.solve(SINGULAR, ONE), r"solve.*\[1\] of the batch \[2\].*singular"),
    "triangle": (
        lambda: tg.linalg.solve_triangular(SINGULAR, ONE, upper=True),
        r"solve_triangular.*\[1\] of the batch \[2\].*zero on its diagonal",
    ),
    "eigh": (lambda: tg.linalg.eigh(ONE * np.nan), r"eigh.*not finite"),
}
MISFITS = {
    "square": (lambda: tg.linalg.inv(np.ones((2, 3))), tg.ShapeError, r"inv.*2, 3.*square"),
    "axes": (lambda: tg.linalg.svd([1.0]), tg.ShapeError, r"svd of shape \(1,\)"),
    "system": (lambda: tg.linalg.solve(ONE, [1.0]), tg.ShapeError, r"\(3, 3\) and \(1,\)"),
    "lower=": (lambda: tg.linalg.solve_triangular(ONE, ONE, lower=True), tg.ArgumentError, "upper"),
    "uplo": (lambda: tg.linalg.eigh(ONE, "X"), tg.ArgumentError, "UPLO='X'"),
    "ord": (lambda: tg.linalg.norm(ONE, 3), tg.ArgumentError, "ord=3"),
    "vector ord": (lambda: tg.linalg.norm([1.0], "fro"), tg.ArgumentError, "'fro'"),
    "norm axes": (lambda: tg.linalg.norm(BATCH, 1), tg.ShapeError, "one axis, or two"),
    "chain": (lambda: tg.linalg.multi_dot([ONE, [1.0]]), tg.ShapeError, r"\(3, 3\), \(1,\)"),
    "one": (lambda: tg.linalg.multi_dot([ONE]), tg.ArgumentError, "two or more"),
    "power": (lambda: tg.linalg.matrix_power(ONE, 0.5), tg.ArgumentError, "n=0.5"),
    "ind": (lambda: tg.linalg.tensorinv(np.ones((2, 3))), tg.ShapeError, "ind=2"),
    "tensorsolve": (lambda: tg.linalg.tensorsolve(ONE, [1.0]), tg.ShapeError, r"\(1,\)"),
    "reflections": (
        lambda: tg.linalg.householder_product(np.ones((2, 3)), [1.0]),
        tg.ShapeError,
        r"\(2, 3\) and \(1,\)",
    ),
    "tolerances": (lambda: tg.linalg.matrix_rank(ONE, 1, rtol=1), tg.ArgumentError, "not both"),
}


@pytest.mark.host
@pytest.mark.parametrize("name", ERRORS)
def test_an_error_says_which_matrix_it_is(name):
    call, says = ERRORS[name]
    with pytest.raises(np.linalg.LinAlgError, match=says) as caught:
        call()
    assert isinstance(caught.value, tg.LinAlgError)
    assert "test_linalg.py" in str(caught.value)


@pytest.mark.parametrize("name", MISFITS)
def test_what_does_not_fit(name):
    call, kind, says = MISFITS[name]
    with pytest.raises(kind, match=says):
        call()


def test_on_a_gpu_they_are_nan(gpu):
    """Which the host does not wait for."""
    minors = np.array([[4.0, 2, 2], [2, 5, 1], [2, 1, 0.5]])  # the last one is negative
    batch = tg.tensor(np.stack([ONE, -ONE, minors, ONE]), backend=gpu.name)
    y = tg.linalg.cholesky(batch).numpy()
    np.testing.assert_array_equal(y[[0, 3]], [ONE, ONE])
    assert np.isnan(y[1:3]).all()
    singular = tg.tensor(SINGULAR, backend=gpu.name)
    for call in (tg.linalg.inv, lambda a: tg.linalg.solve(a, a)):
        y = call(singular).numpy()
        np.testing.assert_array_equal(y[0], ONE)
        assert not np.isfinite(y[1]).all()


# --- dtypes ---------------------------------------------------------------------------------------


def test_halves_are_computed_in_single(backend):
    a = tg.tensor(4 * ONE + draw((3, 3)) / 4, dtype="float16", backend=backend)
    exact = a.numpy().astype("float64")
    for name in "inv det svdvals pinv matrix_exp norm cond matrix_norm".split():
        y = getattr(tg.linalg, name)(a)
        assert y.dtype == "float16", name
        truth = getattr(tg.linalg, name)(exact).numpy()
        np.testing.assert_allclose(y.numpy(), truth, rtol=2e-3, atol=2e-3 * abs(truth).max())
    big = tg.full((300,), 300.0, dtype="float16", backend=backend)  # whose squares are not finite
    assert tg.linalg.norm(big).item() == pytest.approx(300 * 300**0.5, rel=1e-3)
    assert tg.linalg.solve(a, a.astype("float32")).dtype == "float32"
    assert tg.linalg.inv([[2, 0], [0, 4]]).dtype == "float32"


def cplx(*shape):
    return draw(shape, seed=1) + 1j * draw(shape, seed=6)


def adjoint(x):
    return x.mT.conj()


def hermitian(x):
    return (x + adjoint(x)) / 2


def spectrum(x):
    w, v = tg.linalg.eigh(hermitian(x))
    return w, abs(v) ** 2, (v * tg.exp(w / 9)) @ adjoint(v)


def general(x):
    w, v = tg.linalg.eig(x)
    return w, abs(v) ** 2, (v * tg.exp(w / 9)) @ tg.linalg.inv(v)


def singular(x):
    u, s, vh = tg.linalg.svd(x, full_matrices=False)
    return s, abs(u) ** 2, abs(vh) ** 2, u @ vh


# Of what depends on a phase that is free: abs, and products in which it cancels.
COMPLEX = {
    "cholesky": (lambda x: tg.linalg.cholesky(x @ adjoint(x) + ONE), cplx(3, 3)),
    "eigh": (spectrum, cplx(3, 3)),
    "eigvalsh": (lambda x: tg.linalg.eigvalsh(hermitian(x)), cplx(2, 2, 2)),
    "eig": (general, cplx(3, 3)),
    "eig of rotations": (general, draw((2, 2, 2)) + 3 * np.array([[0, -1], [1, 0]])),
    "eigvals": (tg.linalg.eigvals, draw((2, 2)) + 3 * np.array([[0, -1], [1, 0]])),
    "svd": (singular, cplx(3, 3)),
    "svd, tall": (singular, cplx(4, 2)),
    "svd, wide": (singular, cplx(2, 3)),
    "u alone": (lambda x: abs(tg.linalg.svd(x)[0]), cplx(3, 3)),
    "vh alone": (lambda x: abs(tg.linalg.svd(x)[2]), cplx(3, 3)),
    "norm": (tg.linalg.norm, cplx(3, 2)),
    "lstsq": (lambda x: tg.linalg.lstsq(x, x[:, :1] * 2j)[0], cplx(4, 2)),
    "householder_product": (lambda x: tg.linalg.householder_product(x, x[0]), cplx(4, 2)),
    "vecdot": (lambda x: tg.vecdot(x, x + 1j), cplx(4, 2)),
}


@pytest.mark.host  # a GPU is not asked for its numbers
def test_phases_of_eigenvectors_are_free():
    x = tg.tensor([[0.0, -2.0], [1.0, 0.5]], requires_grad=True)
    with pytest.raises(tg.GraphError, match=r"phases of complex eigenvectors.*abs\(v\)"):
        tg.linalg.eig(x).eigenvectors[0].imag.sum().backward()
    with pytest.raises(tg.ShapeError, match="eig"):
        tg.linalg.eig(x[:1])
    with pytest.raises(tg.LinAlgError, match="not finite"):
        tg.linalg.eigvals([[np.nan]])


@pytest.mark.parametrize("name", COMPLEX)
def test_complex_matrices(name):
    f, a = COMPLEX[name]
    assert gradcheck(f, [a], order=2)


# --- triangles, powers of exponentials ------------------------------------------------------------


@pytest.mark.parametrize("upper", [False, True])
def test_triangles_that_are_solved_by_halves(upper):
    """More exactly than by pivots, as a triangular solver: relative to each element."""
    n = 200
    a = np.tril(draw((n, n)) / 4) + 2 * np.eye(n)
    a, b = a.T if upper else a, draw((n, 3))
    x = tg.linalg.solve_triangular(a, b, upper=upper).numpy()
    bound = 2 * n * 2.3e-16 * (abs(a) @ abs(x))
    assert (abs(a @ x - b) <= bound).all()
    nan = np.full((n, n), np.nan)
    wild = a + (np.tril(nan, -1) if upper else np.triu(nan, 1))
    np.testing.assert_array_equal(tg.linalg.solve_triangular(wild, b, upper=upper).numpy(), x)
    batch = np.stack([a, 2 * a])[:, None]
    y = tg.linalg.solve_triangular(batch, np.stack([b, -b, b]), upper=upper).numpy()
    np.testing.assert_allclose(
        y, np.stack([[x, -x, x], [x / 2, -x / 2, x / 2]]), rtol=1e-9, atol=1e-12
    )


def test_exponentials_of_large_and_small_matrices():
    turn = np.array([[0.0, -1], [1, 0]])
    angles = np.array([0.0, 1e-9, 0.3, 1e3])
    y = tg.linalg.matrix_exp(angles[:, None, None] * turn).numpy()
    c, s = np.cos(angles), np.sin(angles)
    exact = np.array([[c, -s], [s, c]]).transpose(2, 0, 1)
    np.testing.assert_allclose(y[:3], exact[:3], rtol=1e-15, atol=1e-16)
    np.testing.assert_allclose(y[3], exact[3], atol=1e-12)
    assert np.isnan(tg.linalg.matrix_exp([[np.nan]]).numpy()).all()


@pytest.mark.parametrize("shapes", [((20, 2), (2, 30), (30, 3)), ((2, 20), (20, 3), (3, 30))])
def test_a_chain_of_products_takes_the_order_of_least_work(shapes):
    work = []

    def watcher(op, run):
        def noted(*arrays, **params):
            if op.name == "matmul":
                work.append(arrays[0].size * arrays[1].shape[-1])
            return run(*arrays, **params)

        return noted

    with watched(watcher):
        tg.linalg.multi_dot([tg.ones(s) for s in shapes])
    (n, k), (_, m), (_, p) = shapes
    assert sum(work) == min(n * k * m + n * m * p, k * m * p + n * k * p)


# --- NumPy ----------------------------------------------------------------------------------------


def test_numpys_functions_are_ours_with_its_words():
    x = tg.tensor(ONE + draw((3, 3)) / 9, requires_grad=True)
    for y in (
        np.linalg.inv(a=x),
        np.linalg.svd(x, full_matrices=False).S,
        np.linalg.qr(x, mode="r"),
        np.linalg.slogdet(x).logabsdet,
        np.linalg.eigh(a=x, UPLO="U").eigenvalues,
        np.linalg.norm(x, ord="nuc", axis=(0, 1)),
        np.linalg.multi_dot([x, x]),
        np.linalg.trace(x),
        np.tensordot(a=x, b=x, axes=1),
        np.trace(a=x),
    ):
        assert isinstance(y, tg.Tensor)
        assert y.requires_grad
    assert np.linalg.matrix_rank(x).item() == 3
    assert np.linalg.eigvals(x).requires_grad
