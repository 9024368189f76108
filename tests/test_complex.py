"""Complex numbers: every op that takes them beside NumPy and differences; every other one refuses
them; gradients in PyTorch's convention; the dtype law; what must not lose an imaginary part."""

import numpy as np
import pytest

import tensorgrad as tg
from tensorgrad import losses, nn
from tensorgrad.core import OPS
from tensorgrad.testing import draw, gradcheck, tolerance

from .oracles import ORACLES, WRITES
from .oracles.linalg import gauged
from .rows import of_each

FIRST = {op: (op.samples or list)() for op in OPS.values() if op.name not in ("move", "cast_all")}
TAKING = [o for o in FIRST if o.complex and not o.inplace]
REFUSING = [o for o in FIRST if not o.complex]
# Whose oracle is for real numbers; NumPy's own function, where there is one, is for complex ones.
REAL_ORACLE = {"sign": None, "full_like": None, "sum_to": None, "linear_scan": None}
REAL_ORACLE |= {
    name: lambda x, axis, reverse=False, f=f: (
        np.flip(f(np.flip(x, axis), axis), axis) if reverse else f(x, axis)
    )
    for name, f in (("cumsum", np.cumsum), ("cumprod", np.cumprod))
}
REAL_ORACLE |= {"arcsin": np.arcsin, "arccos": np.arccos}
# Of hermitian matrices, or with a phase that is free: see test_linalg.py.
NOT_ALONE = {"cholesky", "eig", "eigh", "eigvalsh", "svd"}


def floating(a):
    return isinstance(a, np.ndarray) and a.dtype.kind == "f"


def turned(a, seed=0):
    """A sample's array with imaginary parts of its own."""
    return a + 1j * draw(a.shape, -0.9, 0.9, seed + 7) if floating(a) else a


def complex_samples(op):
    made = []
    for sample in FIRST[op]:
        args = [turned(a, i) for i, a in enumerate(sample.args)]
        params = dict(sample.params)
        if "dtype" in params:
            params["dtype"] = np.dtype("complex128")
        fixed = {"condition", "index"} & set(op.names(len(args)))
        if fixed:
            names = op.names(len(args))
            args = [
                s if n in fixed else a for n, a, s in zip(names, args, sample.args, strict=True)
            ]
        if any(isinstance(a, np.ndarray) and a.dtype.kind == "c" for a in args):
            made.append((args, params))
    return made


def oracle(op, args, params):
    """NumPy's result; that of the real and of the imaginary parts, where ops only move numbers."""
    if op.kind != "shape" or op.name in ("real", "imag", "pad"):
        return ORACLES[op.name](*args, **params)
    real, imag = [
        ORACLES[op.name](*[f(a) if np.iscomplexobj(a) else a for a in args], **params)
        for f in (np.real, np.imag)
    ]
    if isinstance(real, (tuple, list)):
        return tuple([a + 1j * b for a, b in zip(real, imag, strict=True)])
    return real + 1j * imag


@pytest.mark.parametrize("op", TAKING, ids=lambda op: op.name)
def test_values(op, backend):
    for args, params in complex_samples(op):
        if truth := REAL_ORACLE.get(op.name, lambda *args, **params: oracle(op, args, params)):
            truth = truth(*args, **params)
            on = [tg.asarray(a, backend=backend) if isinstance(a, np.ndarray) else a for a in args]
            ours = op(*on, **params)
            pairs = [gauged(op.name, p if isinstance(p, tuple) else (p,)) for p in (ours, truth)]
            for y, t in zip(*pairs, strict=True):
                assert y.dtype.kind == np.asarray(t).dtype.kind, op.name
                assert y.shape == np.shape(t)
                y = y.numpy() if isinstance(y, tg.Tensor) else y
                np.testing.assert_allclose(y, t, rtol=1e-12, atol=1e-12, err_msg=op.name)


SMOOTH = [o for o in TAKING if o.differentiable and o.name not in NOT_ALONE]


@pytest.mark.parametrize("op", SMOOTH, ids=lambda op: op.name)
def test_gradients(op, backend):
    for args, params in complex_samples(op)[:5]:
        moving = [
            i for i, a in enumerate(args) if isinstance(a, np.ndarray) and a.dtype.kind == "c"
        ]

        def f(*xs, args=args, params=params, moving=moving):
            given = [
                tg.asarray(a, backend=backend) if isinstance(a, np.ndarray) else a for a in args
            ]
            for i, x in zip(moving, xs, strict=True):
                given[i] = x
            return op(*given, **params)

        points = [tg.asarray(args[i], backend=backend) for i in moving]
        gradcheck(f, points, order=2 if backend == "numpy" else 1)


@of_each("op", REFUSING)
def test_others_refuse_complex_numbers(op):
    for sample in FIRST[op][:2]:
        args = [turned(a) for a in sample.args]
        if any(isinstance(a, np.ndarray) and a.dtype.kind == "c" for a in args):
            with pytest.raises(tg.DTypeError, match="complex"):
                op(
                    *[tg.asarray(a) if isinstance(a, np.ndarray) else a for a in args],
                    **sample.params,
                )


Z = draw((3, 4), seed=1) + 1j * draw((3, 4), seed=2)
W = draw((4, 2), seed=3) + 1j * draw((4, 2), seed=4)
X = draw((3, 4), seed=5)
PROGRAMS = {
    "abs": (lambda t, z: abs(z).sum(), (Z,)),
    "angle": (lambda t, z: t.angle(z).sum(), (Z,)),
    "sign": (lambda t, z: getattr(t, "sgn", t.sign)(z).real.sum(), (Z,)),
    "holomorphic": (lambda t, z: abs(t.exp(z) * t.sin(z) / (z * z + 2)).sum(), (Z,)),
    "log sqrt power": (lambda t, z: (t.log(z) + t.sqrt(z) + z**1.5 + z**3).imag.sum(), (Z,)),
    "conj": (lambda t, z: (z.conj() * z * z).real.sum(), (Z,)),
    "parts": (lambda t, z: (z.real**2 * z.imag).sum(), (Z,)),
    "matmul": (lambda t, z, w: abs(z @ w).sum(), (Z, W)),
    "a real factor": (lambda t, z, x: abs(z * x + 1j * x).sum(), (Z, X)),
    "a real base": (lambda t, z, x: (x**z).real.sum(), (Z, X)),
    "a complex number": (lambda t, x: abs(x * (2 - 1j) + 1j).sum(), (X,)),
    "index": (lambda t, z: abs(z[[0, 0, 2]] * z[:, :1].sum()).sum(), (Z,)),
    "mean": (lambda t, z: abs(z.mean(0)).sum(), (Z,)),
}


@pytest.mark.parametrize("name", PROGRAMS)
@pytest.mark.parametrize("create_graph", [False, True])
def test_gradients_are_pytorchs(name, create_graph):
    torch = pytest.importorskip("torch", reason="PyTorch is not installed")
    f, arrays = PROGRAMS[name]
    ours = [tg.tensor(a, requires_grad=True) for a in arrays]
    theirs = [torch.tensor(a, requires_grad=True) for a in arrays]
    f(tg, *ours).backward(create_graph=create_graph)
    f(torch, *theirs).backward()
    for a, b in zip(ours, theirs, strict=True):
        np.testing.assert_allclose(a.grad.detach().numpy(), b.grad.numpy(), rtol=1e-10, atol=1e-12)


def test_a_gradient_is_the_direction_of_ascent():
    z = tg.tensor([3 + 4j], requires_grad=True)
    abs(z).sum().backward()
    assert z.grad.dtype == "complex64"
    np.testing.assert_allclose(z.grad.numpy(), [0.6 + 0.8j], rtol=1e-6)
    tape_z = tg.tensor([3 + 4j])
    with tg.GradientTape() as tape:
        tape.watch(tape_z)
        loss = abs(tape_z).sum()
    np.testing.assert_allclose(tape.gradient(loss, tape_z).numpy(), [0.6 + 0.8j], rtol=1e-6)


def test_descent_finds_a_complex_root():
    z = tg.tensor([0.5 + 0.5j], requires_grad=True)
    for _ in range(200):
        loss = abs(z * z + 1).sum() ** 2
        z.grad = None
        loss.backward()
        with tg.no_grad():
            z -= 0.05 * z.grad
    assert abs(z.item() - 1j) < 1e-3


class Squared(tg.Function):
    def forward(ctx, z):
        ctx.save(z)
        return z * z

    def backward(ctx, g):
        return g * 2 * ctx.saved[0].conj()


def test_a_function_sees_pytorchs_convention():
    gradcheck(lambda z: Squared.apply(z), [Z], order=2)
    z = tg.tensor(Z, requires_grad=True)
    abs(Squared.apply(z)).sum().backward()
    w = tg.tensor(Z, requires_grad=True)
    abs(w * w).sum().backward()
    np.testing.assert_allclose(z.grad.numpy(), w.grad.numpy(), rtol=1e-12)


def test_jvp_and_jacobian_of_holomorphic_functions():
    z, t = tg.tensor(Z[0]), tg.tensor(Z[1])
    np.testing.assert_allclose(tg.jvp(lambda z: z**3, [z], [t])[1].numpy(), 3 * Z[0] ** 2 * Z[1])
    np.testing.assert_allclose(tg.jacobian(tg.exp)(z).numpy(), np.diag(np.exp(Z[0])))
    with pytest.raises(tg.DTypeError, match="jacobian"):
        tg.jacobian(tg.abs)(z)


def test_checkpointed_steps_have_the_same_gradient():
    gs = []
    for f in (lambda z: tg.exp(z * z), lambda z: tg.checkpoint(lambda z: tg.exp(z * z), z)):
        z = tg.tensor(Z, requires_grad=True)
        abs(f(z) * 2j).sum().backward()
        gs.append(z.grad.numpy())
    np.testing.assert_array_equal(*gs)


f32, f64 = tg.tensor([1.0, 2.0]), tg.tensor(np.array([1.0, 2.0]))
c64 = tg.tensor([1j, 2.0])
LAW = {
    "python's number": (lambda: f32 * 1j, "complex64"),
    "on the left": (lambda: 1j - f64, "complex128"),
    "an array": (lambda: f32 + np.array([1j, 2]), "complex64"),
    "numpy's number": (lambda: f32 * np.complex128(1j), "complex64"),
    "a complex Tensor with float64": (lambda: c64 * f64, "complex128"),
    "a complex Tensor with a float64 array": (lambda: c64 * np.ones(2), "complex64"),
    "a complex Tensor with integers": (lambda: c64 * tg.tensor([1, 2]), "complex64"),
    "integers with a number": (lambda: tg.tensor([1, 2]) * 1j, "complex64"),
    "halves": (lambda: f32.astype("float16") * 1j, "complex64"),
    "a list": (lambda: tg.tensor([1j, 2]), "complex64"),
    "an array's own": (lambda: tg.tensor(np.array([1j])), "complex128"),
    "zeros": (lambda: tg.zeros(2, dtype="complex64"), "complex64"),
    "abs": (lambda: abs(c64), "float32"),
    "real": (lambda: tg.real(c64), "float32"),
    "sum": (lambda: c64.sum(), "complex64"),
    "cast": (lambda: f32.astype("complex128"), "complex128"),
    "complex": (lambda: tg.complex(f32, f64), "complex128"),
    "where": (lambda: tg.where([True, False], c64, 0.0), "complex64"),
}


@pytest.mark.parametrize("name", LAW)
def test_the_dtype_law(name):
    make, dtype = LAW[name]
    assert make().dtype == dtype


def test_a_real_leaf_gets_a_real_gradient():
    for dtype in ("float16", "float32", "float64"):
        x = tg.tensor([1.0, 2.0], dtype=dtype, requires_grad=True)
        abs(tg.exp(x * 1j) * x).sum().backward()
        assert x.grad.dtype == dtype
        np.testing.assert_allclose(x.grad.numpy(), [1.0, 1.0], rtol=2e-3)


LOSING = {
    "astype": lambda: c64.astype("float32"),
    "backward": lambda: (tg.tensor([1j], requires_grad=True) * 2).sum().backward(),
    "grad": lambda: tg.grad(lambda z: (z * z).sum())(c64),
    "float": lambda: float(c64[0]),
    "int": lambda: int(c64[0]),
    "order": lambda: c64 < 1,
    "max": lambda: c64.max(),
    "argmax": lambda: c64.argmax(),
    "softmax": lambda: tg.softmax(c64),
    "relu": lambda: c64.relu(),
    "a loss": lambda: losses.mean_squared_error(f32, c64),
    "a layer": lambda: nn.Linear(2, 3)(c64),
    "a convolution": lambda: tg.conv2d(tg.ones((1, 1, 3, 3)), np.ones((1, 1, 2, 2)) * 1j),
    "floor": lambda: tg.floor(c64),
    "assignment": lambda: f32.copy().__setitem__(0, 1j),
    "in place": lambda: f32.copy().__imul__(1j),
    "index": lambda: f32[c64],
    "randn": lambda: tg.randn(2, dtype="complex64"),
    "fit": lambda: nn.Sequential(nn.Linear(2, 1)).fit(
        np.ones((4, 2)) * 1j, np.ones((4, 1)), epochs=1
    ),
    "an optimizer": lambda: _stepped(),
    "complex of complex": lambda: tg.complex(c64, f32),
    "arange": lambda: tg.arange(1j),
}


def _stepped():
    z = nn.Parameter(np.array([1j]))
    abs(z).sum().backward()
    tg.optim.SGD([z], lr=0.1).step()


@pytest.mark.parametrize("name", LOSING)
def test_no_imaginary_part_is_lost_in_silence(name):
    with pytest.raises(tg.TensorgradError):
        LOSING[name]()


def test_writes_in_place():
    assert {"accumulate"} == {o.name for o in FIRST if o.complex and o.inplace} & set(WRITES)
    z = tg.tensor([1j, 2], requires_grad=True)
    for _ in range(2):
        abs(z * z).sum().backward()
    np.testing.assert_allclose(z.grad.numpy(), [4j, 8], rtol=1e-6)


def test_text_and_protocols():
    assert str(c64) == "tensor([0.+1.j, 2.+0.j], dtype=complex64)"
    assert complex(c64[0]) == 1j
    assert np.conj(c64).tolist() == [-1j, 2]
    assert np.real(c64).tolist() == [0, 2]
    assert np.angle(c64).numpy()[0] == pytest.approx(np.pi / 2)
    assert np.iscomplexobj(c64)
    assert c64.conj().tolist() == c64.conjugate().tolist()
    assert tg.asarray(np.from_dlpack(c64)).dtype == "complex64"
    assert f32.real is f32
    assert f32.imag.tolist() == [0, 0]
    assert tolerance("complex64") == tolerance("float32")
