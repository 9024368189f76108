"""What kernels are tested on: `SIZED` maps an op's name to a function from a size to samples.

A module a family, as in tests/oracles. Elementwise ops repeat their own samples. `LARGE` holds
the size that runs on all threads where the usual one would take too long.
"""

import importlib
import pkgutil

SIZED, LARGE = {}, {}
for _module in pkgutil.iter_modules(__path__):
    _found = importlib.import_module(f"{__name__}.{_module.name}")
    SIZED |= _found.SIZED
    LARGE |= getattr(_found, "LARGE", {})
