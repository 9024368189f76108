"""What each op should give, in plain NumPy float64 and written independently of its reference.

A module a family: `ORACLES` holds the results of an op by its name; `WRITES`, for ops that write
in place, what all inputs hold afterwards and the result.
"""

import importlib
import pkgutil

ORACLES, WRITES = {}, {}
for _module in pkgutil.iter_modules(__path__):
    _found = importlib.import_module(f"{__name__}.{_module.name}")
    ORACLES |= getattr(_found, "ORACLES", {})
    WRITES |= getattr(_found, "WRITES", {})
