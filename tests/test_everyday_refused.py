"""Call forms that are not taken, of NumPy and of other frameworks: one error of ours each, that
names the argument and what to write instead."""

import numpy as np
import pytest

import tensorgrad as tg

from .rows import of_each

pytestmark = pytest.mark.host


OUT = """
np.sum(t, axis=0, out=buffer)
np.mean(t, axis=0, out=buffer)
np.max(t, axis=0, out=buffer)
np.add(t[0], 1, out=buffer)
np.exp(t[0], out=buffer)
np.exp(t[0], buffer)
np.clip(t[0], 0, 1, out=buffer)
np.matmul(t[0], t.T, out=buffer[:2])
np.concatenate([t[0], t[1]], out=np.zeros(6))
np.argmax(t, axis=0, out=np.zeros(3, int))
tg.sum(t, axis=0, out=buffer)
tg.exp(t[0], out=buffer)
tg.add(t[0], 1, out=buffer)
tg.clip(t[0], 0, 1, out=buffer)
tg.concatenate([t[0], t[1]], out=np.zeros(6))
t.sum(axis=0, out=buffer)
t.mean(0, out=buffer)
t[0].clip(0, 1, out=buffer)
t.round(out=np.zeros((2, 3)))
buffer.__iadd__(t[0])
""".strip().splitlines()


@of_each("tracked", [False, True])
@of_each("program", OUT)
def test_out_is_refused_with_a_reason(program, tracked):
    buffer = np.zeros(3)
    t = tg.tensor([[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]], requires_grad=tracked)
    with pytest.raises((TypeError, RuntimeError), match="out") as caught:
        eval(program, {"np": np, "tg": tg, "t": t, "buffer": buffer})
    if not program.startswith(("tg.exp", "tg.add")):  # which check nothing, to be quick
        assert isinstance(caught.value, tg.TensorgradError)
        assert any(word in str(caught.value) for word in ("write", "in place", "result"))
    assert not buffer.any()


def test_out_none_is_no_out():
    t = tg.tensor([1.0, 2.0])
    assert np.sum(t, out=None).item() == 3.0
    assert np.exp(t, out=None).shape == (2,)
    assert np.clip(t, 0, 1, out=None).tolist() == [1.0, 1.0]


WRONG = {
    "t.sum(dim=0)": "axis",
    "t.mean(0, keepdim=True)": "keepdims",
    "tg.softmax(t, dim=-1)": "axis",
    "tg.std(t, unbiased=True)": "ddof|correction",
    "t.sum(axes=0)": "axis",
    "tg.sum(t, axis=2)": "axis 2",
    "tg.max(t, axis=-3)": "axis -3",
    "tg.argmax(t, axis=5)": "axis 5",
    "tg.sum(t, axis=(0, 0))": "twice|duplicate|repeated",
    "tg.sum(t, axis=1.0)": r"axis=1\.0",
    "tg.sum(t, axis='rows')": "axis='rows'",
    "tg.std(t, ddof=1, correction=1)": "ddof.*correction",
    "tg.pad(t, 1, mode='mirror')": "mirror.*reflect",
    "tg.pad(t, -1)": "-1",
    "tg.pad(t, 1.5)": r"1\.5",
    "tg.pad(t, ((1, 1), (1, 1), (1, 1)))": r"pad",
    "tg.pad(t, 1, mode='edge', constant_values=2)": "constant_values",
    "tg.clip(t, 'a', 1)": "clip",
    "tg.transpose(t, (0, 0))": "transpose",
    "tg.reshape(t, (4, 2))": "reshape",
    "tg.reshape(t, (2, 3), order='F')": "order",
    "tg.squeeze(t, axis=0)": "squeeze",
    "tg.concatenate([])": "at least one",
    "tg.stack([t, t[0]])": "stack",
    "tg.split(t, 4, axis=1)": "split",
    "tg.argmax(t[:0])": "argmax",
    "tg.max(t[:0])": "max",
    "t.astype('float99')": "float99",
    "t.reshape(2, 'x')": "reshape|shape",
    "np.sum(t, axis=9)": "axis 9",
    "np.std(t, ddof=1, correction=1)": "ddof.*correction",
}


@of_each("program", WRONG)
def test_wrong_arguments_are_our_errors_that_name_them(program):
    t = tg.tensor([[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]])
    with pytest.raises(tg.TensorgradError, match=rf"(?s){WRONG[program]}"):
        eval(program, {"np": np, "tg": tg, "t": t})
