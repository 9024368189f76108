"""Programs that are made, not written: each file draws calls from tables with fixed seeds, and
holds what comes out against NumPy or PyTorch. `pytest tests/attack --long=600` has each test that
takes `seeds` go on with new ones for ten minutes; a seed that fails becomes one of its cases."""
