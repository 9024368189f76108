"""Modules of PyTorch's own tests."""

import importlib
import sys
import types
import unittest


def of_pytorch(name):
    """torch.testing._internal.<name>. It wants a package that samples do not; and once it is there
    PyTorch's flags may not be set any more, which other tests of the same process do."""
    stand_in = types.ModuleType("expecttest")
    stand_in.TestCase, stand_in.assert_expected_inline = unittest.TestCase, None
    sys.modules.setdefault("expecttest", stand_in)
    found = importlib.import_module(f"torch.testing._internal.{name}")
    frozen = sys.modules["torch.backends"].flags_frozen
    frozen.__globals__["__allow_nonbracketed_mutation_flag"] = True
    return found
