"""One token more through a Transformer block, whose keys and values are kept: what generation does
for every token. As one op, since a token's products take less time than the calls of thirty."""

from ..core import op
from .attention import scaled_dot_product_attention
from .matmul import dense, dense_gelu
from .norm import layer_norm
from .samples import Sample, draw


def _samples():
    made = []
    for n, heads, each, hidden, start in ((1, 2, 3, 7, 4), (3, 1, 4, 5, 0), (2, 3, 8, 33, 6)):
        width = heads * each
        kept = (n, heads, 7, each)
        shapes = (width,), (width, 3 * width), (width, width), (width,), (width, hidden)
        pairs = [(s, s[-1:]) for s in (*shapes, (hidden, width))]
        weights = [draw(s, seed=i) for i, s in enumerate([s for pair in pairs for s in pair])]
        arrays = draw((n, width)), draw(kept, seed=20), draw(kept, seed=21)
        made.append(Sample((*arrays, *weights), {"start": start, "eps": 1e-5}))
    return made


@op(inplace=("keys", "values"), samples=_samples)
def block_step(
    x, keys, values, norm1, shift1, w_in, b_in, w_out, b_out, norm2, shift2, w_up, b_up, w_down,
    b_down, *, start, eps,
):  # fmt: skip
    """x + attention(norm(x)), then x + mlp(norm(x)) (Xiong et al. 2020) for token `start` of each
    row, x (n, width), after those whose keys and values (n, heads, length, width / heads) are kept,
    where its own are written. The MLP's activation is gelu, in its form with tanh."""
    n, heads, _, each = keys.shape
    h = layer_norm(x, norm1, shift1, eps=eps)[0]
    projected = dense(h, w_in, b_in, activation="none").reshape(n, 3, heads, each)
    keys[:, :, start], values[:, :, start] = projected[:, 1], projected[:, 2]
    seen = keys[:, :, : start + 1], values[:, :, : start + 1]
    y = scaled_dot_product_attention(projected[:, 0, :, None], *seen)[0]
    x = x + dense(y.reshape(x.shape), w_out, b_out, activation="none")
    h = layer_norm(x, norm2, shift2, eps=eps)[0]
    return x + dense(dense_gelu(h, w_up, b_up)[0], w_down, b_down, activation="none")
