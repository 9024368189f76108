"""What Keras asks of a backend's layers, and of a model's export."""

from __future__ import annotations

from typing import Any


class Layer:
    """Keras's layers need nothing of this backend's own."""


class ExportArchive:
    """A SavedModel is a graph of TensorFlow's, which there is none of here."""

    def __init__(self, *args: Any) -> None:
        raise NotImplementedError(
            "Keras on tensorgrad exports no SavedModel, which is TensorFlow's format: "
            "model.save('model.keras') is read by Keras on any backend"
        )
