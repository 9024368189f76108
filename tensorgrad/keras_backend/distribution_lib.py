"""What Keras asks of a backend with several devices: each is refused by name."""

from __future__ import annotations

from collections.abc import Callable

from keras.src.backend.common import global_state


def refuse(name: str) -> None:
    """NotImplementedError for a name of keras.distribution."""
    raise NotImplementedError(
        f"Keras on tensorgrad trains on one device: keras.distribution ({name}) is not here; "
        "docs/distributed.md shows several processes with tensorgrad's own layers"
    )


def refuse_distributed() -> None:
    """The same where `set_distribution` was called, which Keras itself only notes down."""
    if global_state.get_global_attribute("distribution") is not None:
        refuse("set_distribution")


def _refused(name: str) -> Callable:
    return lambda *args, **options: refuse(name)


list_devices, get_device_count = _refused("list_devices"), _refused("get_device_count")
initialize, distribute_tensor = _refused("initialize"), _refused("distribute_tensor")
_to_backend_mesh, _to_backend_layout = _refused("DeviceMesh"), _refused("TensorLayout")
