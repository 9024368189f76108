"""How Keras finds this backend: seven of its modules are imported with one branch more.

Keras up to 3.15 chooses its backend in `elif` chains. A finder on `sys.meta_path` compiles those
modules with a branch inserted before a line that occurs once in each; where one does not, this is
a version of Keras that nobody has looked at, and the import ends in an ImportError. Nothing is
written to disk, and Keras's other backends work as before.
"""

from __future__ import annotations

import ast
import importlib
import importlib.abc
import importlib.machinery
import importlib.metadata
import importlib.util
import os
import sys
from types import ModuleType
from typing import Any

from ..errors import BackendError

NAME, HERE = "tensorgrad", __package__
VERSIONS = "3.15"
_CHAIN = '\nelif backend.backend() == "numpy":'
_OURS = f'\nelif backend.backend() == "{NAME}":'

# Module of Keras -> the line before which the branch goes, and the branch.
BRANCHES = {
    "keras.src.backend": (
        '\nelif backend() == "numpy":',
        f'\nelif backend() == "{NAME}": from {HERE}.legacy import *; '
        f"from {HERE}.ops.core import Variable as BackendVariable",
    ),
    "keras.src.layers.layer": (_CHAIN, f"{_OURS} from {HERE}.layer import Layer as BackendLayer"),
    "keras.src.models.model": (_CHAIN, f"{_OURS} from {HERE}.trainer import Trainer"),
    "keras.src.export.saved_model": (
        _CHAIN,
        f"{_OURS} from {HERE}.layer import ExportArchive as BackendSavedModelExportArchive",
    ),
    "keras.src.optimizers.optimizer": (
        '\nelif backend.backend() == "jax":',
        f"{_OURS} from {HERE}.optimizer import Optimizer as BackendOptimizer",
    ),
    # Keras asks no backend for it, and PyTorch's kernel is called there: a tenth of a Transformer.
    "keras.src.ops.nn": (
        '\n    elif backend.config.backend() == "torch" and is_continuous_axis(axis):',
        f'\n    elif backend.config.backend() == "{NAME}" and (rows := '
        "backend.nn.layer_normalization(x, gamma, beta, axis, epsilon)) is not None: "
        "outputs = rows",
    ),
    "keras.src.utils.backend_utils": (
        '\n        if self._backend == "numpy":',
        f'\n        if self._backend == "{NAME}": return getattr(backend_module, name)',
    ),
}

# Modules of Keras that update what they are given, as `sample_weight *= mask`: there as on Keras's
# other backends the name gets a new tensor, and the caller's stays as it was.
REBOUND = {
    "keras.src.applications.imagenet_utils",
    "keras.src.losses.loss",
    "keras.src.layers.preprocessing.image_preprocessing.random_brightness",
    "keras.src.layers.preprocessing.image_preprocessing.bounding_boxes.converters",
}


class _Rebinds(ast.NodeTransformer):
    """`x *= y` as `x = x * y`; but the function for arrays of NumPy says that it writes to them."""

    def visit_FunctionDef(self, node: ast.FunctionDef) -> ast.AST:
        return node if node.name == "_preprocess_numpy_input" else self.generic_visit(node)

    def visit_AugAssign(self, node: ast.AugAssign) -> ast.AST:
        if not isinstance(node.target, ast.Name):
            return node
        value = ast.BinOp(ast.Name(node.target.id, ast.Load()), node.op, node.value)
        return ast.fix_missing_locations(ast.copy_location(ast.Assign([node.target], value), node))


class _Branched(importlib.machinery.SourceFileLoader):
    """Loads a module of Keras with its branch, or rebound; never from, or into, bytecode."""

    def get_code(self, fullname: str) -> Any:
        path = self.get_filename(fullname)
        source = importlib.util.decode_source(self.get_data(path))
        if fullname in REBOUND:
            tree = _Rebinds().visit(ast.parse(source, path))
            return compile(tree, path, "exec", dont_inherit=True)
        line, branch = BRANCHES[fullname]
        version = importlib.metadata.version("keras")
        if not version.startswith(f"{VERSIONS}.") or source.count(line) != 1:
            raise ImportError(
                f"Keras on tensorgrad supports Keras {VERSIONS}, this is {version}, which may "
                f'choose its backend in another way: pip install "tensorgrad-cupy[keras]"'
            )
        before, _, after = source.partition(line)
        after = after.replace("\n\n\n", "\n\n", 1)  # tracebacks count lines as in the file
        return compile(f"{before}{branch}{line}{after}", path, "exec", dont_inherit=True)


class _Alias(importlib.abc.Loader):
    """`tensorgrad.keras.layers` is `keras.layers` itself, not a second copy."""

    def create_module(self, spec: Any) -> ModuleType:
        module = importlib.import_module(spec.name.partition(".")[2])
        self.spec = module.__spec__
        return module

    def exec_module(self, module: ModuleType) -> None:
        module.__spec__ = self.spec


class _Finder(importlib.abc.MetaPathFinder):
    def find_spec(self, name: str, path: Any = None, target: Any = None) -> Any:
        if name.startswith("tensorgrad.keras."):
            return importlib.util.spec_from_loader(name, _Alias())
        if name not in BRANCHES.keys() | REBOUND or os.environ.get("KERAS_BACKEND") != NAME:
            return None
        found = importlib.machinery.PathFinder.find_spec(name, path)
        if found is None or not found.origin or not found.origin.endswith(".py"):
            return found
        packages = found.submodule_search_locations
        return importlib.util.spec_from_file_location(
            name,
            found.origin,
            loader=_Branched(name, found.origin),
            submodule_search_locations=packages,
        )


def install() -> None:
    """Make `import keras` find this backend where KERAS_BACKEND is "tensorgrad"."""
    if not any(isinstance(finder, _Finder) for finder in sys.meta_path):
        sys.meta_path.insert(0, _Finder())


def load() -> ModuleType:
    """The real `keras`, on tensorgrad.

    Raises: BackendError where Keras is not installed, or was imported with another backend.
    """
    install()
    if "keras" not in sys.modules:
        os.environ["KERAS_BACKEND"] = NAME
    try:
        keras = importlib.import_module("keras")
    except ModuleNotFoundError as error:
        if error.name != "keras":
            raise
        raise BackendError(
            f'Keras is not installed: pip install "tensorgrad-cupy[keras]" (Keras {VERSIONS})'
        ) from None
    if (other := keras.config.backend()) != NAME:
        raise BackendError(
            f"Keras was imported before, with the backend {other!r}, and keeps it: import it by "
            "`from tensorgrad import keras` first, or set KERAS_BACKEND=tensorgrad"
        )
    return keras
