"""What Keras asks of a backend with several devices: each is refused by name."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any


def _refused(name: str) -> Callable:
    def call(*args: Any, **options: Any) -> Any:
        raise NotImplementedError(
            f"Keras on tensorgrad trains on one device: keras.distribution ({name}) is not here; "
            "docs/distributed.md shows several processes with tensorgrad's own layers"
        )

    return call


list_devices, get_device_count = _refused("list_devices"), _refused("get_device_count")
initialize, distribute_tensor = _refused("initialize"), _refused("distribute_tensor")
num_processes, process_id = _refused("Distribution"), _refused("Distribution")
_to_backend_mesh, _to_backend_layout = _refused("DeviceMesh"), _refused("TensorLayout")
