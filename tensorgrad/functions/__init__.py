"""The public functions: NumPy's words, Tensors out. Each is written here, and its op in `ops/`.

The families of `LATER` are imported when one of their functions is first named, so that
`import tensorgrad` stays short.
"""

import importlib
from typing import TYPE_CHECKING, Any

from .activation import (
    elu,
    gelu,
    leaky_relu,
    relu,
    sigmoid,
    silu,
    softplus,
)
from .attention import (
    scaled_dot_product_attention,
)
from .conv import (
    avg_pool2d,
    conv2d,
    max_pool2d,
)
from .elementwise import (
    abs,
    add,
    ceil,
    clip,
    cos,
    divide,
    divmod,
    exp,
    expm1,
    floor,
    floor_divide,
    log,
    log1p,
    maximum,
    minimum,
    mod,
    multiply,
    negative,
    positive,
    pow,
    power,
    remainder,
    round,
    sign,
    sin,
    sqrt,
    square,
    subtract,
    tanh,
    trunc,
    where,
)
from .embedding import (
    embedding,
)
from .logic import (
    bitwise_and,
    bitwise_invert,
    bitwise_left_shift,
    bitwise_or,
    bitwise_right_shift,
    bitwise_xor,
    equal,
    greater,
    greater_equal,
    invert,
    isfinite,
    isinf,
    isnan,
    left_shift,
    less,
    less_equal,
    logical_and,
    logical_not,
    logical_or,
    logical_xor,
    not_equal,
    right_shift,
)
from .norm import (
    batch_norm,
    channel_affine,
    group_norm,
    layer_norm,
    rms_norm,
)
from .padding import (
    pad,
)
from .products import (
    dense,
    matmul,
)
from .random import (
    dropout,
)
from .recurrent import (
    gru,
    lstm,
    rnn,
)
from .reduce import (
    all,
    any,
    argmax,
    argmin,
    log_softmax,
    logsumexp,
    max,
    mean,
    min,
    prod,
    softmax,
    std,
    sum,
    var,
)
from .shape import (
    array_split,
    broadcast_to,
    concat,
    concatenate,
    expand_dims,
    flip,
    identity,
    moveaxis,
    permute_dims,
    reshape,
    split,
    squeeze,
    stack,
    swapaxes,
    transpose,
)

__all__ = [
    "abs",
    "add",
    "all",
    "any",
    "argmax",
    "argmin",
    "array_split",
    "avg_pool2d",
    "batch_norm",
    "bitwise_and",
    "bitwise_invert",
    "bitwise_left_shift",
    "bitwise_or",
    "bitwise_right_shift",
    "bitwise_xor",
    "broadcast_to",
    "ceil",
    "channel_affine",
    "clip",
    "concat",
    "concatenate",
    "conv2d",
    "cos",
    "dense",
    "divide",
    "divmod",
    "dropout",
    "elu",
    "embedding",
    "equal",
    "exp",
    "expand_dims",
    "expm1",
    "flip",
    "floor",
    "floor_divide",
    "gelu",
    "greater",
    "greater_equal",
    "group_norm",
    "gru",
    "identity",
    "invert",
    "isfinite",
    "isinf",
    "isnan",
    "layer_norm",
    "leaky_relu",
    "left_shift",
    "less",
    "less_equal",
    "log",
    "log1p",
    "log_softmax",
    "logical_and",
    "logical_not",
    "logical_or",
    "logical_xor",
    "logsumexp",
    "lstm",
    "matmul",
    "max",
    "max_pool2d",
    "maximum",
    "mean",
    "min",
    "minimum",
    "mod",
    "moveaxis",
    "multiply",
    "negative",
    "not_equal",
    "pad",
    "permute_dims",
    "positive",
    "pow",
    "power",
    "prod",
    "relu",
    "remainder",
    "reshape",
    "right_shift",
    "rms_norm",
    "rnn",
    "round",
    "scaled_dot_product_attention",
    "sigmoid",
    "sign",
    "silu",
    "sin",
    "softmax",
    "softplus",
    "split",
    "sqrt",
    "square",
    "squeeze",
    "stack",
    "std",
    "subtract",
    "sum",
    "swapaxes",
    "tanh",
    "transpose",
    "trunc",
    "var",
    "where",
]

# Family -> its functions: the `__all__` of its file.
LATER = {
    "diagonals": """diag diag_embed diagflat diagonal fill_diagonal tril tril_indices triu
    triu_indices""",
    "scan": "diff",
}
FAMILY = {name: family for family, names in LATER.items() for name in names.split()}

if TYPE_CHECKING:
    from .diagonals import *  # noqa: F403
    from .scan import *  # noqa: F403
else:

    def __getattr__(name: str) -> Any:
        if name not in FAMILY:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        function = getattr(importlib.import_module(f"{__name__}.{FAMILY[name]}"), name)
        return globals().setdefault(name, function)
