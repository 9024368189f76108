"""Losses of ten small networks of Keras, for the backend of this process: run as
`KERAS_BACKEND=torch python tests/peers/keras_losses.py [name ...]`, which prints them as JSON.

Initial weights and data are NumPy's, so that every backend begins alike.
"""

import json
import sys

import keras
import numpy as np
from keras import layers, ops


def random(*shape, seed=0):
    return np.random.default_rng(seed).standard_normal(shape).astype("float32")


def words(n, steps, seed=3):
    rng = np.random.default_rng(seed)
    x = rng.integers(1, 20, (n, steps))
    for row, length in zip(x, rng.integers(1, steps + 1, n), strict=True):
        row[length:] = 0
    return x


def sequential(*parts):
    return keras.Sequential(list(parts))


def mlp():
    model = sequential(layers.Dense(16, activation=lambda x: ops.gelu(x, False)), layers.Dense(3))
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    return model, random(48, 8), words(48, 1)[:, 0] % 3, keras.optimizers.SGD(0.1, 0.9, True), loss


def recurrent():
    both = layers.Bidirectional(layers.GRU(5, return_sequences=True))
    model = sequential(layers.LSTM(6, return_sequences=True), both, layers.SimpleRNN(4),
                       layers.Dense(1))  # fmt: skip
    return model, random(32, 7, 3), random(32, 1, seed=1), keras.optimizers.RMSprop(0.01), "mse"


def masked():
    model = sequential(layers.Embedding(20, 6, mask_zero=True), layers.LSTM(6),
                       layers.Dense(1, activation="sigmoid"))  # fmt: skip
    x = words(32, 9)
    return model, x, x[:, :1] % 2, keras.optimizers.Adam(0.02), "binary_crossentropy"


def images():
    model = sequential(
        layers.Conv2D(6, 3, strides=2, padding="same", use_bias=False),
        layers.BatchNormalization(),
        layers.ReLU(),
        layers.MaxPooling2D(2, padding="same"),
        layers.Conv2D(5, (2, 3), activation="swish"),
        layers.AveragePooling2D(2, strides=1, padding="same"),
        layers.Flatten(),
        layers.Dense(4, activation="softmax"),
    )
    y = np.eye(4)[words(32, 1)[:, 0] % 4]
    return model, random(32, 13, 12, 3), y, keras.optimizers.Adam(0.01), "categorical_crossentropy"


def transformer():
    x = layers.Input((6,), dtype="int32")
    h = layers.Embedding(20, 8)(x)
    h = h + layers.MultiHeadAttention(2, 4)(h, h, use_causal_mask=True)
    h = layers.LayerNormalization()(h)
    h = layers.LayerNormalization()(h + layers.Dense(8)(layers.Dense(16, "gelu")(h)))
    model = keras.Model(x, layers.Dense(20)(h))
    ids = words(32, 6)
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    return model, ids, np.roll(ids, -1, 1), keras.optimizers.AdamW(0.01), loss


def residual():
    x = layers.Input((8, 8, 4))
    h = layers.SeparableConv2D(4, 3, padding="same", activation="relu")(x)
    h = layers.GroupNormalization(2)(layers.Add()([x, h]))
    h = layers.Conv2DTranspose(3, 3, strides=2, padding="same")(h)
    h = layers.UpSampling2D(2, interpolation="bilinear")(layers.DepthwiseConv2D(3)(h))
    model = keras.Model(x, layers.Dense(1)(layers.GlobalAveragePooling2D()(h)))
    return model, random(16, 8, 8, 4), random(16, 1, seed=1), keras.optimizers.Adam(
        0.01, clipnorm=0.5), "huber"  # fmt: skip


def volumes():
    model = sequential(layers.Conv3D(4, 2, activation="relu"), layers.MaxPooling3D(2),
                       layers.Conv3DTranspose(2, 2), layers.GlobalMaxPooling3D(),
                       layers.Dense(1))  # fmt: skip
    x = random(16, 6, 6, 6, 2)
    return model, x, random(16, 1, seed=1), keras.optimizers.Nadam(0.01), "mae"


def signals():
    x = layers.Input((16, 3))
    h = layers.Conv1D(6, 3, dilation_rate=2, padding="causal", activation="elu")(x)
    h = layers.Attention(use_scale=True)([h, h])
    h = layers.AveragePooling1D(2)(layers.Conv1DTranspose(4, 3, strides=2)(h))
    model = keras.Model(x, layers.Dense(2, activation="tanh")(layers.Flatten()(h)))
    return model, random(16, 16, 3), random(16, 2, seed=1), keras.optimizers.Adagrad(0.05), "mse"


def regularized():
    kernel = {"kernel_regularizer": "l2", "kernel_constraint": "max_norm"}
    model = sequential(layers.Dense(12, "softplus", **kernel), layers.PReLU(),
                       layers.UnitNormalization(), layers.EinsumDense("ab,bc->ac", 3),
                       layers.Softmax())  # fmt: skip
    y = np.abs(random(32, 3, seed=1))
    return model, random(32, 5), y / y.sum(1, keepdims=True), keras.optimizers.Ftrl(
        0.05), "kl_divergence"  # fmt: skip


def accumulated():
    model = sequential(layers.Dense(8, "silu"), layers.RMSNormalization(), layers.Dense(1))
    schedule = keras.optimizers.schedules.CosineDecay(0.02, 20)
    how = {"gradient_accumulation_steps": 2, "use_ema": True, "weight_decay": 0.01}
    optimizer = keras.optimizers.Lion(schedule, **how)
    return model, random(48, 6), random(48, 1, seed=1), optimizer, "log_cosh"


NETWORKS = (mlp, recurrent, masked, images, transformer, residual, volumes, signals, regularized,
            accumulated)  # fmt: skip


def losses(network):
    model, x, y, optimizer, loss = network()
    model.compile(optimizer, loss)
    model.train_on_batch(x[:16] * 0, y[:16])  # builds all variables
    for i, v in enumerate(model.variables):
        if "seed" not in v.path:
            value = random(*v.shape, seed=i) * 0.2
            v.assign(np.abs(value) + 0.5 if "var" in v.path or "gamma" in v.path else value)
    for v in optimizer.variables:
        if v.path.endswith("learning_rate"):
            continue
        v.assign(np.full(v.shape, 0.1 if "accumulator" in v.path and "grad" not in v.path else 0))
    if network is accumulated:  # the averages begin at the weights
        for v in optimizer.variables:
            if "average" in v.path:
                v.assign(np.zeros(v.shape))
    return model.fit(x, y, 16, epochs=4, shuffle=False, verbose=0).history["loss"]


if __name__ == "__main__":
    chosen = [n for n in NETWORKS if n.__name__ in sys.argv[1:] or len(sys.argv) < 2]
    print(json.dumps({n.__name__: losses(n) for n in chosen}))
