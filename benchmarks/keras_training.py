"""Steps of Keras's `fit` on tensorgrad, as they are and with `jit_compile=True`, beside Keras on
PyTorch (eager) and JAX (jit): a process for each, all alive at once, which take turns. Run as
`python benchmarks/keras_training.py [rounds] [how a name begins ...]`; it needs the extra [keras],
and shows of PyTorch and JAX those that are installed. Figures are of one thread.
"""

import importlib.util
import json
import os
import statistics
import subprocess
import sys
import time

BACKENDS = ("tensorgrad", "compiled", "torch", "jax")
RATIOS = (("torch", "tensorgrad"), ("jax", "tensorgrad"), ("jax", "compiled"))
STEPS = 10
NAMES = ("tiny 2-8-1, batch 16", "MLP 784-256-128-10, batch 64", "CNN 28x28, batch 64",
         "LSTM 32 steps of 32, batch 64", "Transformer block, batch 64")  # fmt: skip


def networks():
    """Name -> model, inputs and targets, batch size, optimizer, loss."""
    import keras
    import numpy as np
    from keras import layers

    rng = np.random.default_rng(0)

    def floats(*shape):
        return rng.standard_normal(shape).astype("float32")

    def stack(*parts):
        return keras.Sequential(list(parts))

    sparse = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    ids = rng.integers(0, 10, 64 * STEPS)
    tokens = layers.Input((32,), dtype="int32")
    h = layers.Embedding(100, 64)(tokens)
    h = layers.LayerNormalization()(h + layers.MultiHeadAttention(4, 16)(h, h))
    h = layers.LayerNormalization()(h + layers.Dense(64)(layers.Dense(128, "gelu")(h)))
    transformer = keras.Model(tokens, layers.Dense(10)(layers.GlobalAveragePooling1D()(h)))
    relu, n = {"activation": "relu"}, 64 * STEPS
    mlp = stack(layers.Dense(256, **relu), layers.Dense(128, **relu), layers.Dense(10))
    cnn = stack(layers.Conv2D(16, 3, **relu), layers.MaxPooling2D(2), layers.Conv2D(32, 3, **relu),
                layers.MaxPooling2D(2), layers.Flatten(), layers.Dense(10))  # fmt: skip
    tiny = stack(layers.Dense(8, **relu), layers.Dense(1))
    programs = (
        (tiny, floats(16 * STEPS, 2), floats(16 * STEPS, 1), 16, "mse"),
        (mlp, floats(n, 784), ids, 64, sparse),
        (cnn, floats(n, 28, 28, 1), ids, 64, sparse),
        (stack(layers.LSTM(64), layers.Dense(10)), floats(n, 32, 32), ids, 64, sparse),
        (transformer, rng.integers(0, 100, (n, 32)), ids, 64, sparse),
    )
    return dict(zip(NAMES, programs, strict=True))


def work(jit="auto"):
    """The process of a backend: a line of input names a network; the answer is ms a step."""
    made = networks()
    for model, *_, loss in made.values():
        model.compile("adam", loss, jit_compile=jit)
    for line in sys.stdin:
        model, x, y, size, _ = made[line.strip()]
        model.fit(x, y, size, verbose=0, shuffle=False) if not model.optimizer.built else None
        start = time.perf_counter()
        model.fit(x, y, size, verbose=0, shuffle=False)
        print(json.dumps((time.perf_counter() - start) * 1e3 / STEPS), flush=True)


def main(rounds=10, *chosen):
    threads = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMBA_NUM_THREADS"), "1")
    threads["XLA_FLAGS"] = "--xla_cpu_multi_thread_eigen=false intra_op_parallelism_threads=1"
    code = "import tensorgrad.keras_backend.hook as h; h.install(); import sys; sys.path[:0] = "
    code += f"[{os.path.dirname(os.path.abspath(__file__))!r}]; import keras_training as k; k.work("
    absent = [b for b in ("torch", "jax") if importlib.util.find_spec(b) is None]
    backends = [b for b in BACKENDS if b not in absent]
    pairs = [(theirs, ours) for theirs, ours in RATIOS if theirs not in absent]
    workers = {
        name: subprocess.Popen(
            [sys.executable, "-c", code + ("True)" if name == "compiled" else ")")],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, **threads, "KERAS_BACKEND": name.replace("compiled", "tensorgrad")},
        )
        for name in backends
    }
    names = [name for name in NAMES if name.startswith(chosen or "")]
    heads = [*backends, *(f"{theirs} / {ours}" for theirs, ours in pairs)]
    print("| ms a step, median | " + " | ".join(heads) + " |")
    print("| --- " * (len(heads) + 1) + "|")
    try:
        for name in names:
            times = {b: [] for b in backends}
            for i in range(rounds + 1):
                for backend, process in workers.items():
                    process.stdin.write(name + "\n")
                    process.stdin.flush()
                    took = json.loads(process.stdout.readline())
                    if i:  # the first one compiles
                        times[backend].append(took)
            medians = [statistics.median(times[b]) for b in backends]
            ratios = [
                statistics.median(a / b for a, b in zip(times[theirs], times[ours], strict=True))
                for theirs, ours in pairs
            ]
            print(f"| {name} | " + " | ".join(f"{m:.2f}" for m in medians)
                  + " | " + " | ".join(f"{r:.2f}" for r in ratios) + " |", flush=True)  # fmt: skip
    finally:
        for process in workers.values():
            process.stdin.close()
            process.wait(60)


if __name__ == "__main__":
    main(*map(int, sys.argv[1:2]), *sys.argv[2:])
