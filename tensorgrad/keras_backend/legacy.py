"""The names that Keras up to 3.16 takes from a backend's package."""
# ruff: noqa: F401  (for Keras to take)

from keras.src.backend.common.name_scope import name_scope

from . import distribution_lib, random
from .ops import core, image, linalg, math, nn, numpy
from .ops.core import (
    IS_THREAD_SAFE,
    SUPPORTS_COMPLEX_DTYPES,
    SUPPORTS_RAGGED_TENSORS,
    SUPPORTS_SPARSE_TENSORS,
    Variable,
    cast,
    compute_output_spec,
    cond,
    convert_to_numpy,
    convert_to_tensor,
    device_scope,
    is_tensor,
    random_seed_dtype,
    shape,
    stop_gradient,
    vectorized_map,
)
from .rnn import bidirectional_gru, bidirectional_lstm, cudnn_ok, gru, lstm, rnn

SUPPORTS_GRADIENT = True
