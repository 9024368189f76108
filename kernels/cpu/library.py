"""Machine code whose parts are optimised and generated once.

Numba makes a library of each function that it compiles, of scalar helpers too. Each is optimised
and turned into machine code by itself, then linked into those that call it and optimised there
again, though only the last copy is ever run. Within `once` a helper is kept as it was lowered until
the loop that calls it is whole, and that is optimised once: a fifth of the time of a first run.

This stands on methods that Numba may change: releases it was not tried on compile as they do.
"""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Iterator
from typing import Any

_TRIED = ("0.68.",)


@contextlib.contextmanager
def once() -> Iterator[None]:
    """What is compiled meanwhile is made of such libraries. It holds Numba's own lock, so nothing
    of another thread is, and nothing that a user compiles."""
    import numba

    if not numba.__version__.startswith(_TRIED):
        yield
        return
    from numba.core.compiler_lock import global_compiler_lock
    from numba.core.registry import cpu_target

    with global_compiler_lock:
        codegen = cpu_target.target_context.codegen()
        set_env = codegen.set_env
        codegen._library_class = _whole_library()
        codegen.set_env = lambda name, env: _generated(codegen, name) and set_env(name, env)
        try:
            yield
        finally:
            del codegen._library_class, codegen.set_env


@functools.cache
def _whole_library() -> type:
    from numba.core import codegen, environment

    class WholeLibrary(codegen.JITCodeLibrary):
        def add_linking_library(self, library: Any) -> None:
            self._linking_libraries.append(library)  # which Numba would finalize

        def get_pointer_to_function(self, name: str) -> int:
            if not self._finalized and not _defines(self._final_module, name):
                return 0  # as Python does not call a helper
            return super().get_pointer_to_function(name)

        def finalize(self) -> None:
            for library in _below(self):
                self._reload_init.update(library._reload_init)
                module = library._get_module_for_linking() if library._finalized else _copy(library)
                self._final_module.link_in(module, preserve=True)
            self._linking_libraries = []
            super().finalize()
            for variable in self._final_module.global_variables:
                if (env := environment.lookup_environment(variable.name)) is not None:
                    self._codegen.set_env(variable.name, env)  # helpers' own was not there yet

        def _optimize_functions(self, module: Any) -> None:
            module.data_layout = self._codegen._data_layout

        def _optimize_final_module(self) -> None:
            passes, builder = self._codegen._module_pass_manager()
            passes.run(self._final_module, builder)

    return WholeLibrary


def _below(library: Any) -> list[Any]:
    """All libraries that one is to be linked with, each once."""
    found: dict[Any, None] = {}
    waiting = list(library._linking_libraries)
    while waiting:
        part = waiting.pop()
        if part not in found:
            found[part] = None
            if not part._finalized:
                waiting += part._linking_libraries
    return list(found)


def _copy(helper: Any) -> Any:
    """A helper's module, for linking: what several callers have is the same."""
    from llvmlite.binding import Linkage

    module = helper._final_module.clone()
    for function in module.functions:
        if not function.is_declaration and function.linkage == Linkage.external:
            function.linkage = "linkonce_odr"
    return module


def _defines(module: Any, name: str) -> bool:
    try:
        return not module.get_function(name).is_declaration
    except NameError:
        return False


def _generated(codegen: Any, name: str) -> bool:
    return codegen._engine.is_symbol_defined(name)
