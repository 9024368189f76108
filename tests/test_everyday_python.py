"""Python's own words on tensors, as people write them without thinking: each row is a small
program that is run on a NumPy array and on a Tensor, and must give the same numbers."""

import json
import math
import operator

import numpy as np
import pytest

import tensorgrad as tg

from .rows import of_each

pytestmark = pytest.mark.host

F = np.float32([[-2.5, -0.5, 0.5], [1.5, 2.5, 3.25]])
I = np.int64([[-7, -1, 0], [1, 5, 7]])  # noqa: E741
B = np.array([[True, False, True], [False, False, True]])
ARRAYS = {"f": F, "i": I, "b": B, "c": ~B}


def names(of):
    """The arrays of the programs as `of` makes them, and what the programs may call."""
    return {n: of(a) for n, a in ARRAYS.items()} | {"np": np, "math": math, "operator": operator}


def numbers(value):
    """Tensors as arrays, in tuples and lists too."""
    if isinstance(value, (list, tuple)):
        return type(value)(map(numbers, value))
    return value.numpy() if isinstance(value, tg.Tensor) else value


OPERATORS = """
b & c
b | c
b ^ c
~b
b & True
True | b
i & 3
i | 8
i ^ i
12 ^ i
~i
i << 2
i >> 1
1 << (i & 3)
64 >> (i & 3)
np.int64([1, 2, 3]) & i
f // 0.5
i // 2
7 // (i + 8)
2.0 // f
f % 1
i % 3
i % -3
5.0 % f
7 % (i + 8)
divmod(f, 0.5)
divmod(i, 3)
divmod(7, i + 8)
+f
+i
-f
-i
abs(f)
abs(i)
pow(f, 2)
f ** 2
2.0 ** f
2 ** (i + 7)
f - 1
1 - f
f / 2
2 / f
f @ f.T
f == f
f != 0.5
f < 1
1 <= f
(0 < f) & (f < 2)
(f < 0) | (f > 2)
~(f > 0)
f > np.float32([0, 0, 0])
np.float32([[1, 2, 3]]) - f
[1, 2, 3] + f
f * [1.0, 2.0, 3.0]
sum(f)
sum([f, f, f])
max(f[0])
min(i[1])
sorted(f[0], reverse=True)
list(reversed(f))
list(f)
[row[0] for row in i]
dict(enumerate(f[:, 0]))[1]
(lambda a, b: b - a)(*f)
list(zip(f[0], i[0]))
len(f)
2.5 in f
9.0 in f
7 in i
f[0] in f
"""


@of_each("program", OPERATORS.strip().splitlines())
def test_operators_and_builtins_give_what_numpy_gives(program):
    want, got = eval(program, names(np.array)), eval(program, names(tg.tensor))
    for w, g in zip(want, got, strict=True) if type(want) in (tuple, list) else [(want, got)]:
        assert isinstance(numbers(g), type(w)) or isinstance(g, tg.Tensor), type(g)
        np.testing.assert_allclose(numbers(g), w, rtol=1e-6)
    if isinstance(want, np.ndarray) and want.shape:
        assert isinstance(got, tg.Tensor)
        assert got.dtype.kind == want.dtype.kind


ROUNDED = """
round(f)
round(f, 1)
round(i)
round(f[0, 0])
math.floor(f[0, 0])
math.ceil(f[0, 0])
math.trunc(f[0, 0])
"""


@of_each("program", ROUNDED.strip().splitlines())
def test_rounding_is_to_even_as_in_python(program):
    got = eval(program, names(tg.tensor))
    digits = 1 if ", 1" in program else 0
    a = I if "i)" in program else F[0, 0] if "[0, 0]" in program else F
    if program.startswith("math."):
        want = getattr(math, program[5:].partition("(")[0])(float(a))
    else:
        want = np.round(a, digits)
    np.testing.assert_allclose(numbers(got), want)


SCALARS = {
    "bool(t)": True,
    "bool(t > 9)": False,
    "int(t)": 2,
    "float(t)": 2.75,
    "complex(t)": 2.75 + 0j,
    "float(t.reshape(1, 1))": 2.75,
    "t.item()": 2.75,
    "not t": False,
    "1 if t > 2 else 0": 1,
    "bool(2 < t < 3)": True,
    "math.sqrt(t + 1.25)": 2.0,
    "math.isnan(t)": False,
    "math.isclose(t, 2.75)": True,
    "range(n)[-1]": 2,
    "'abcd'[n]": "d",
    "operator.index(n)": 3,
    "f'{t:.1f}'": "2.8",
    "f'{t:>8.3f}'": "   2.750",
    "f'{t:e}'": "2.750000e+00",
    "f'{n:03d}'": "003",
    "'%.2f' % t": "2.75",
    "'{:.2%}'.format(t)": "275.00%",
    "format(t, '.3f')": "2.750",
    "round(float(t), 1)": 2.8,
    "json.dumps({'loss': float(t)})": '{"loss": 2.75}',
    "json.dumps(t.tolist())": "2.75",
    "hash(t) == hash(t)": True,
    "{t: 'mine'}[t]": "mine",
    "len({t, t, n})": 2,
    "t is [n, t][1]": True,
    "[n, t].index(t)": 1,
    "isinstance(t.item(), float)": True,
    "isinstance(n.item(), int)": True,
}


@of_each("tracked", [False, True])
@of_each("program", SCALARS)
def test_a_single_number_is_one_to_python(program, tracked):
    t = tg.tensor(2.75, requires_grad=tracked)
    got = eval(program, names(tg.tensor) | {"t": t, "n": tg.tensor(3), "json": json})
    assert got == SCALARS[program]
    assert not isinstance(got, tg.Tensor)


def test_words_of_a_tensor_of_several_numbers():
    t = tg.tensor(F)
    assert f"{t}" == str(t) == format(t, "")
    assert "2.5" in str(t)
    assert [f"{v:.1f}" for v in t[0]] == ["-2.5", "-0.5", "0.5"]
    assert [f"{v:+.2f}" for v in t[1].tolist()] == ["+1.50", "+2.50", "+3.25"]


class Money:
    """A type of somebody else that knows what to do with whatever it meets."""

    __array_ufunc__ = None

    def answer(self, other):
        return "theirs"

    __radd__ = __rsub__ = __rmul__ = __rtruediv__ = __rfloordiv__ = __rmod__ = answer
    __rpow__ = __rmatmul__ = __rand__ = __ror__ = __rxor__ = __rlshift__ = __rrshift__ = answer
    __add__ = __sub__ = __mul__ = __rdivmod__ = __matmul__ = __and__ = answer
    __eq__ = __ne__ = __lt__ = __le__ = __gt__ = __ge__ = answer
    __hash__ = object.__hash__


BINARY = "+ - * / // % ** @ & | ^ << >> == != < <= > >=".split()


@of_each("sign", BINARY)
def test_an_unknown_type_is_asked_in_its_turn(sign):
    both = {"t": tg.tensor(I), "theirs": Money()}
    assert eval(f"t {sign} theirs", both) == "theirs"
    if sign in ("+", "-", "*", "@", "&"):
        assert eval(f"theirs {sign} t", both) == "theirs"


@of_each("tracked", [False, True])
@of_each("sign", BINARY)
@of_each("other", [object(), "text", {"a": 1}])
def test_a_type_that_nobody_knows_is_a_type_error(sign, other, tracked):
    both = {"t": tg.tensor(F, requires_grad=tracked), "other": other}
    if sign in ("==", "!="):
        assert bool(np.all(eval(f"t {sign} other", both))) is (sign == "!=")
    else:
        with pytest.raises(TypeError):
            eval(f"t {sign} other", both)
        if (sign, type(other)) != ("%", str):  # which formats
            with pytest.raises(TypeError):
                eval(f"other {sign} t", both)


@of_each("tracked", [False, True])
@of_each("value", [1.0, [1.0, 2.0]])
def test_none_is_never_equal_and_never_an_error(value, tracked):
    t = tg.tensor(value, requires_grad=tracked)
    for program in ("t == None", "None == t"):
        assert not np.any(numbers(eval(program, {"t": t})))
    for program in ("t != None", "None != t"):
        assert np.all(numbers(eval(program, {"t": t})))


AMBIGUOUS = {
    "0 < f < 1": r"&",
    "f and b": r"&",
    "not b": r"any\(\)|~",
    "bool(f)": r"\.any\(\) or \.all\(\)",
    "1 if f > 0 else 2": r"where|any\(\)",
    "bool(f[:0])": r"ambiguous|empty",
    "float(f)": "one number",
    "int(i)": "one number",
    "complex(f)": "one number",
    "f'{f:.2f}'": "one number",
    "operator.index(i)": "one number",
    "f.item()": "one number",
}


@of_each("program", AMBIGUOUS)
def test_what_several_numbers_cannot_say_is_one_clear_error(program):
    with pytest.raises(tg.ShapeError, match=AMBIGUOUS[program]):
        eval(program, names(tg.tensor))


WRONG_TYPE = {
    "~f": "float32",
    "f & 1": "float32",
    "b | f": "float32",
    "f << 1": "float32",
    "i >> 1.0": r"1\.0",
    "operator.index(f[0, 0])": "float32",
    "[1, 2, 3][f[0, 2]]": "float32",
    "len(f[0, 0])": "len",
    "list(f[0, 0])": "iter|len",
    "pow(i, 2, 5)": ".",
}


@of_each("program", WRONG_TYPE)
def test_what_the_dtype_forbids_is_a_type_error(program):
    with pytest.raises(TypeError, match=WRONG_TYPE[program]):
        eval(program, names(tg.tensor))


# --- gradients of Python's operators --------------------------------------------------------------

GRADIENTS = {
    "x // 0.7": lambda x: 0 * x,
    "x % 0.7": lambda x: 0 * x + 1,
    "5.0 % x": lambda x: -np.floor(5.0 / x),
    "5.0 // x": lambda x: 0 * x,
    "divmod(x, 0.7)[0]": lambda x: 0 * x,
    "divmod(x, 0.7)[1]": lambda x: 0 * x + 1,
    "+x": lambda x: 0 * x + 1,
    "abs(x)": np.sign,
    "round(x)": lambda x: 0 * x,
    "pow(x, 3)": lambda x: 3 * x * x,
    "sum(x)": lambda x: 0 * x + 1,
    "sum([x, x])": lambda x: 0 * x + 2,
    "max(x)": lambda x: (x == x.max()) * 1.0,
    "sorted(x)[0] * 2": lambda x: (x == x.min()) * 2.0,
    "list(reversed(x))[0]": lambda x: np.eye(len(x))[-1],
}


@of_each("program", GRADIENTS)
def test_gradients_pass_through_pythons_operators(program):
    raw = np.array([-2.25, 0.5, 1.9, 4.6])
    x = tg.tensor(raw, requires_grad=True)
    y = eval(program)
    assert y.requires_grad
    y.sum().backward()
    np.testing.assert_allclose(x.grad.numpy(), GRADIENTS[program](raw))
    gradient = tg.grad(lambda x: eval(program, {"x": x}).sum())(raw)
    np.testing.assert_allclose(gradient.numpy(), GRADIENTS[program](raw))
