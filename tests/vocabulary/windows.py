"""Windows that slide."""

import numpy as np

from tensorgrad.testing import draw, integers

from . import Row


def _unfold(x, size, dilation=(1, 1), padding=(0, 0), stride=(1, 1)):
    (kh, kw), (dh, dw), (sh, sw) = size, dilation, stride
    x = np.pad(x, ((0, 0), (0, 0), (padding[0],) * 2, (padding[1],) * 2))
    columns = [
        x[:, :, i : i + dh * (kh - 1) + 1 : dh, j : j + dw * (kw - 1) + 1 : dw].reshape(len(x), -1)
        for i in range(0, x.shape[2] - dh * (kh - 1), sh)
        for j in range(0, x.shape[3] - dw * (kw - 1), sw)
    ]
    return np.stack(columns, -1)


def _fold(x, output_size, size, **options):
    """Each element of the columns goes where `unfold` takes it from."""
    kernel, (h, w) = size[0] * size[1], output_size
    places = np.arange(1.0, h * w + 1).reshape(1, 1, h, w)
    at = _unfold(places, size, **options)[0].astype(int)
    y = np.zeros((len(x), x.shape[1] // kernel, h * w + 1))
    for n, c in np.ndindex(y.shape[:2]):
        np.add.at(y[n, c], at, x[n, c * kernel : (c + 1) * kernel])
    return y[..., 1:].reshape(*y.shape[:2], h, w)


_WIDE = {"dilation": (2, 1), "padding": (1, 2), "stride": (1, 2)}
_view = np.lib.stride_tricks.sliding_window_view
X = draw((2, 3, 5, 4))
ROWS = [
    Row("sliding_window_view", _view, (draw((5,)), 2)),
    Row("sliding_window_view", _view, (draw((4, 5)), (2, 3))),
    Row("sliding_window_view", _view, (draw((3, 4, 2)), 3), {"axis": 1}),
    Row("sliding_window_view", _view, (draw((70,)), 66)),
    Row("unfold", _unfold, (X, (2, 3))),
    Row("unfold", _unfold, (X, (2, 3)), _WIDE),
    Row("fold", _fold, (draw((2, 12, 8)), (5, 3), (2, 2))),
    Row("fold", _fold, (draw((1, 12, 15)), (5, 4), (2, 3)), _WIDE),
    *[Row("convolve", np.convolve, (draw((6,)), draw((3,)), m)) for m in ("full", "same", "valid")],
    *[Row("convolve", np.convolve, (draw((2,)), draw((5,)), m)) for m in ("full", "same", "valid")],
    *[Row("correlate", np.correlate, (draw((6,)), draw((4,)), m)) for m in ("full", "same")],
    *[Row("correlate", np.correlate, (draw((4,)), draw((6,)), m)) for m in ("same", "valid")],
    Row("convolve", np.convolve, (integers((6,), 9), integers((3,), 9)), order=0),
]
