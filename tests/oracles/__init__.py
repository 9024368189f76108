"""Expected results of each op, in plain NumPy float64 and written independently of its reference.
One module per family: `ORACLES` maps an op's name to a function of its results; `WRITES`, for ops
that update in place, to a function of what all inputs hold afterwards and the result."""

import importlib
import pkgutil

ORACLES, WRITES = {}, {}
for _module in pkgutil.iter_modules(__path__):
    _found = importlib.import_module(f"{__name__}.{_module.name}")
    ORACLES |= getattr(_found, "ORACLES", {})
    WRITES |= getattr(_found, "WRITES", {})
