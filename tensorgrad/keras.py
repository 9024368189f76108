"""`from tensorgrad import keras`: the real Keras 3, on tensorgrad (keras_backend/, docs/keras.md).

This module is replaced by that package when it is imported, so that `tensorgrad.keras.layers` is
`keras.layers`.
"""

import sys

from .keras_backend.hook import load

sys.modules[__name__] = load()
