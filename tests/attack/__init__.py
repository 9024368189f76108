"""Programs that are made, not written: each file draws calls from tables with fixed seeds, and
holds what comes out against NumPy or PyTorch. TENSORGRAD_ATTACK=long draws many more."""

import os

LONG = os.environ.get("TENSORGRAD_ATTACK") == "long"
