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
    conv2d,
)
from .elementwise import (
    abs,
    absolute,
    add,
    around,
    ceil,
    clip,
    cos,
    divide,
    divmod,
    exp,
    expm1,
    fix,
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
    rint,
    round,
    sign,
    sin,
    sqrt,
    square,
    subtract,
    tanh,
    true_divide,
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
    bitwise_not,
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
    amax,
    amin,
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
    permute,
    permute_dims,
    ravel,
    reshape,
    split,
    squeeze,
    stack,
    swapaxes,
    transpose,
)

__all__ = [
    "abs",
    "absolute",
    "add",
    "all",
    "amax",
    "amin",
    "any",
    "argmax",
    "argmin",
    "around",
    "array_split",
    "batch_norm",
    "bitwise_and",
    "bitwise_invert",
    "bitwise_left_shift",
    "bitwise_not",
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
    "fix",
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
    "permute",
    "permute_dims",
    "positive",
    "pow",
    "power",
    "prod",
    "ravel",
    "relu",
    "remainder",
    "reshape",
    "right_shift",
    "rint",
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
    "true_divide",
    "trunc",
    "var",
    "where",
]

# Family -> its functions: the `__all__` of its file.
LATER = {
    "adaptive": """adaptive_avg_pool1d adaptive_avg_pool2d adaptive_avg_pool3d adaptive_max_pool1d
    adaptive_max_pool2d adaptive_max_pool3d max_unpool1d max_unpool2d max_unpool3d""",
    "analytic": """acos acosh arccos arccosh arcsin arcsinh arctan arctan2 arctanh asin asinh
    atan atan2 atanh cbrt cosh deg2rad degrees entr exp2 float_power hypot log2 log10 logaddexp
    logaddexp2 logit rad2deg radians reciprocal rsqrt sinc sinh tan xlog1py xlogy""",
    "comparison": "allclose array_equal array_equiv isclose isneginf isposinf",
    "complex_numbers": """angle complex conj conjugate imag iscomplex isreal polar real
    real_if_close""",
    "contraction": """bilinear cross dot einsum inner kron matrix_transpose matvec outer tensordot
    trace vdot vecdot vecmat""",
    "conv_nd": "conv1d conv3d conv_transpose1d conv_transpose2d conv_transpose3d",
    "diagonals": """diag diag_embed diagflat diagonal fill_diagonal tril tril_indices triu
    triu_indices""",
    "distance": "cdist cosine_similarity normalize",
    "fractional": "fractional_max_pool2d fractional_max_pool3d",
    "indexing": """gather index_add index_copy index_fill index_put index_select put_along_axis
    scatter scatter_reduce take take_along_axis""",
    "interpolation": "addcdiv addcmul interp lerp polyval vander",
    "joining": """append atleast_1d atleast_2d atleast_3d block column_stack delete dsplit dstack
    hsplit hstack insert unstack vsplit vstack""",
    "machine": """bitwise_count copysign fabs fmax fmin fmod frexp gcd heaviside lcm ldexp modf
    nan_to_num nextafter signbit spacing""",
    "masks": """argwhere choose compress extract flatnonzero masked_fill masked_select nonzero
    one_hot place select""",
    "nans": """nanargmax nanargmin nancumprod nancumsum nanmax nanmean nanmin nanprod nanstd
    nansum nanvar""",
    "nonlinearity": """celu glu hardshrink hardsigmoid hardswish hardtanh logsigmoid mish prelu
    relu6 rrelu selu softmin softshrink softsign sparsemax tanhshrink threshold""",
    "pooling": """avg_pool1d avg_pool2d avg_pool3d local_response_norm lp_pool1d lp_pool2d
    lp_pool3d max_pool1d max_pool2d max_pool3d""",
    "quantiles": "median mode nanmedian nanpercentile nanquantile percentile quantile",
    "repeating": """broadcast_arrays fliplr flipud indices ix_ meshgrid ravel_multi_index repeat
    resize roll rollaxis rot90 tile trim_zeros unravel_index""",
    "resampling": """affine_grid channel_shuffle grid_sample interpolate pixel_shuffle
    pixel_unshuffle""",
    "scan": """cummax cummin cumprod cumsum cumulative_prod cumulative_sum diff ediff1d
    gradient linear_scan logcumsumexp trapezoid unwrap""",
    "segments": """embedding_bag segment_max segment_mean segment_min segment_prod segment_softmax
    segment_sum""",
    "sets": "intersect1d setdiff1d setxor1d union1d",
    "sorting": """argpartition argsort digitize isin kthvalue lexsort partition searchsorted sort
    topk unique unique_all unique_counts unique_inverse unique_values""",
    "spaced": "geomspace logspace",
    "sparse": "sparse_matmul",
    "special": """betaln digamma erf erfc erfcx erfinv expit gammainc gammaincc
    gammaln i0 i0e i1 i1e j0 j1 k0 k1 lgamma log_ndtr multigammaln ndtr ndtri polygamma psi y0 y1
    zeta""",
    "statistics": "average bincount corrcoef count_nonzero cov histogram histogramdd ptp",
    "windows": "convolve correlate fold sliding_window_view unfold",
}
FAMILY = {name: family for family, names in LATER.items() for name in names.split()}

if TYPE_CHECKING:
    from .adaptive import *  # noqa: F403
    from .analytic import *  # noqa: F403
    from .comparison import *  # noqa: F403
    from .complex_numbers import *  # noqa: F403
    from .contraction import *  # noqa: F403
    from .conv_nd import *  # noqa: F403
    from .diagonals import *  # noqa: F403
    from .distance import *  # noqa: F403
    from .fractional import *  # noqa: F403
    from .indexing import *  # noqa: F403
    from .interpolation import *  # noqa: F403
    from .joining import *  # noqa: F403
    from .machine import *  # noqa: F403
    from .masks import *  # noqa: F403
    from .nans import *  # noqa: F403
    from .nonlinearity import *  # noqa: F403
    from .pooling import *  # noqa: F403
    from .quantiles import *  # noqa: F403
    from .repeating import *  # noqa: F403
    from .resampling import *  # noqa: F403
    from .scan import *  # noqa: F403
    from .segments import *  # noqa: F403
    from .sets import *  # noqa: F403
    from .sorting import *  # noqa: F403
    from .spaced import *  # noqa: F403
    from .sparse import *  # noqa: F403
    from .special import *  # noqa: F403
    from .statistics import *  # noqa: F403
    from .windows import *  # noqa: F403
else:

    def __getattr__(name: str) -> Any:
        if name not in FAMILY:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        function = getattr(importlib.import_module(f"{__name__}.{FAMILY[name]}"), name)
        return globals().setdefault(name, function)
