"""A program that launches every CUDA kernel on small arrays, to be run under NVIDIA's
compute-sanitizer by test_gpu.py. `python -m tests.every_kernel [backend]` prints how many ops it
ran."""

import sys

import numpy as np

import tensorgrad as tg
from tensorgrad import backend as backends
from tensorgrad.core import OPS

from .sized import SIZED
from .test_kernels import CUDA, exact_args, placed


def main(backend: str) -> int:
    home = backends.get(backend)
    if backend == "cupy":
        home.xp.cuda.set_allocator(None)  # no pool: each array ends where its memory ends
    with tg.use_kernels("always"), np.errstate(all="ignore"):
        for name in CUDA:
            for dtype in ("float32", "float16"):
                if dtype not in CUDA[name].accepts and dtype == "float16":
                    continue
                for n in (33, 1025):
                    sample = SIZED[name](n)[0]
                    args = exact_args(OPS[name], sample, dtype)
                    OPS[name](*placed(OPS[name], args, dtype, home.from_host), **sample.params)
        if backend == "cupy":
            home.xp.cuda.Device().synchronize()
    return len(CUDA)


if __name__ == "__main__":
    if sys.argv[1:] == ["cudasim"]:
        from .cudasim import install

        install()
    print(f"{main(*sys.argv[1:] or ['cupy'])} ops ran")
