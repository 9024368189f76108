"""Data in files: folders of images by Pillow, tables by pyarrow or pandas, text by bytes or a
tokenizer. What is not needed in memory at once is read as it is asked for."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal, TypeAlias

import numpy as np

from ..errors import ArgumentError, BackendError, DTypeError
from ..settings import Either, Nothing, Own, gate, listed, shown
from ..typing import Count, Natural, PathLike, Size

SUFFIXES = frozenset(".png .jpg .jpeg .bmp .gif .webp .tif .tiff .ppm .pgm".split())
Columns: TypeAlias = Annotated[
    "str | Sequence[str] | None", Either(Nothing(), Own("names of columns"))
]


def _needs(what: str, module: str, package: str) -> Any:
    import importlib

    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise BackendError(f"{what} needs {package}: pip install {package.lower()}") from error


def _path(what: str, path: str | os.PathLike[str]) -> Path:
    found = Path(path)
    if not found.exists():
        raise ArgumentError(f"{what}: there is no {os.fspath(path)!r} (in {Path.cwd()})")
    return found


class ImageFolder:
    """A data set of the images in the subfolders of a folder, each of which is a class, named in
    `classes` in alphabetical order. A sample is (uint8 image (channels, height, width), class);
    files are read by Pillow when they are asked for.

    Args:
        path: the folder.
        size: (height, width) to which images are resized; None: as they are, and of one size.
        mode: "RGB", 3 channels, or "L", a single one, grey.
    Raises: ArgumentError for a folder without images in subfolders, and for a file that is no
        image, by its name; BackendError where Pillow is not installed.

    >>> from PIL import Image; from pathlib import Path
    >>> for name in ("cat", "dog"):
    ...     Path("photos", name).mkdir(parents=True)
    ...     Image.new("RGB", (12, 10)).save(f"photos/{name}/1.png")
    >>> photos = ImageFolder("photos", size=(8, 8))
    >>> photos.classes, len(photos), photos[1][0].shape, photos[1][1]
    (['cat', 'dog'], 2, (3, 8, 8), 1)
    """

    @gate
    def __init__(self, path: PathLike, size: Size | None = None, mode: Literal["RGB", "L"] = "RGB"):
        self.path, self.size, self.mode = _path("ImageFolder", path), size, mode
        folders = sorted(p for p in self.path.iterdir() if p.is_dir()) if self.path.is_dir() else []
        self.classes = [p.name for p in folders]
        self.files = [
            (file, label)
            for label, folder in enumerate(folders)
            for file in sorted(folder.rglob("*"))
            if file.suffix.lower() in SUFFIXES
        ]
        if not self.files:
            raise ArgumentError(
                f"ImageFolder: {self.path} has no images in subfolders, one a class: "
                f"{self.path}/cat/1.png"
            )
        _needs("ImageFolder", "PIL.Image", "Pillow")

    @property
    def labels(self) -> np.ndarray[Any, Any]:
        """The class of each image, int64."""
        return np.array([label for _, label in self.files], np.int64)

    def __len__(self) -> int:
        return len(self.files)

    def __getitem__(self, index: int) -> tuple[np.ndarray[Any, Any], int]:
        file, label = self.files[index]
        images = _needs("ImageFolder", "PIL.Image", "Pillow")
        try:
            with images.open(file) as image:
                image = image.convert(self.mode)
                if self.size is not None:
                    height, width = self.size  # type: ignore[misc]
                    image = image.resize((width, height))
                pixels = np.array(image, np.uint8)
        except OSError as error:  # Pillow's own are among them
            raise ArgumentError(
                f"ImageFolder: {file} cannot be read as an image: {error}"
            ) from error
        return (pixels[None] if pixels.ndim == 2 else np.moveaxis(pixels, -1, 0)), label


class Table:
    """A stream of the rows of a CSV or Parquet file, which need not fit into memory: samples (x, y)
    of `inputs` (float32, all columns but the target where left out) and `target`, or x alone.

    Args:
        path: a file that ends with .csv, .tsv or .parquet.
        inputs: the names of columns.
        target: the name of a column; text in it is refused: classes are numbers.
        rows: read at once.
    Raises: ArgumentError for columns that are not there, DTypeError for those that are no numbers,
        BackendError where neither pyarrow nor, for CSV, pandas is installed.

    >>> from pathlib import Path
    >>> _ = Path("house.csv").write_text("area,rooms,price\\n50,2,1.5\\n80,3,2.5\\n")
    >>> [(x.tolist(), float(y)) for x, y in Table("house.csv", target="price")]
    [([50.0, 2.0], 1.5), ([80.0, 3.0], 2.5)]
    """

    @gate
    def __init__(
        self,
        path: PathLike,
        inputs: Columns = None,
        target: str | None = None,
        rows: Count = 65536,
    ):
        self.path, self.rows, self.target = _path("Table", path), rows, target
        self.kind = self.path.suffix.lower()
        if self.kind not in (".csv", ".tsv", ".parquet"):
            raise ArgumentError(
                f"Table: {self.path.name} ends with neither .csv, .tsv nor .parquet"
            )
        names = self._names()
        given = None if inputs is None else _texts(inputs)
        if given == []:
            raise ArgumentError(f"Table: inputs={shown(inputs)} must be names of columns")
        self.inputs = [n for n in names if n != target] if given is None else given
        missing = [n for n in [*self.inputs, *([target] if target else [])] if n not in names]
        if missing:
            raise ArgumentError(
                f"Table: {self.path.name} has no column {', '.join(map(repr, missing))}; it has "
                f"{', '.join(map(repr, names))}"
            )

    def _names(self) -> list[str]:
        if self.kind == ".parquet":
            parquet = _needs("Table", "pyarrow.parquet", "pyarrow")
            return list(parquet.read_schema(self.path).names)
        return list(next(self._chunks(None)).columns)

    def _chunks(self, columns: list[str] | None) -> Iterator[Any]:
        """Pieces of the table, as mappings of columns."""
        if self.kind == ".parquet":
            parquet = _needs("Table", "pyarrow.parquet", "pyarrow")
            for batch in parquet.ParquetFile(self.path).iter_batches(self.rows, columns=columns):
                yield (
                    batch.to_pydict()
                    if not batch.num_rows
                    else {
                        n: batch.column(n).to_numpy(zero_copy_only=False)
                        for n in batch.schema.names
                    }
                )
            return
        pandas = _needs("Table", "pandas", "pandas")
        separator = "\t" if self.kind == ".tsv" else ","
        yield from pandas.read_csv(
            self.path, sep=separator, usecols=columns, chunksize=self.rows if columns else 1
        )

    def __iter__(self) -> Iterator[Any]:
        wanted = [*self.inputs, *([self.target] if self.target else [])]
        for chunk in self._chunks(wanted):
            x = np.stack([self._column(chunk, n) for n in self.inputs], axis=1).astype(np.float32)
            if self.target is None:
                yield from x
            else:
                yield from zip(x, self._column(chunk, self.target), strict=True)

    def _column(self, chunk: Any, name: str) -> np.ndarray[Any, Any]:
        values = np.asarray(chunk[name])
        if values.dtype.kind not in "biuf":
            raise DTypeError(
                f"Table: column {name!r} of {self.path.name} holds {values.dtype}, not numbers: "
                "leave it out of `inputs`, or encode it first"
            )
        return values


Tokenizer: TypeAlias = Annotated[
    "Callable[[str], Sequence[int]] | Any | None",
    Either(Nothing(), Own("a tokenizer, or a function of a text")),
]
Texts: TypeAlias = Annotated["str | Sequence[str]", Own("a text or several")]


@gate
def encode(
    texts: Texts, length: Count | None = None, tokenizer: Tokenizer = None, pad: Natural = 0
) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
    """Texts as numbers: ids int64 (n, length), filled up with `pad`, and the lengths int64 (n,).

    Args:
        texts: one or several.
        length: longer ones are cut; None: that of the longest.
        tokenizer: of the package `tokenizers`, or a function of a text that returns ids; None: its
            bytes in UTF-8, 0 to 255.

    >>> ids, lengths = encode(["hi", "you"])
    >>> ids.tolist(), lengths.tolist()
    ([[104, 105, 0], [121, 111, 117]], [2, 3])
    """
    several: Any = _texts(texts)
    if not several:
        raise ArgumentError(f"encode takes a text or a list of texts, got {shown(texts)}")
    if tokenizer is None:
        rows = [list(t.encode()) for t in several]
    elif hasattr(tokenizer, "encode_batch"):
        rows = [list(e.ids) for e in tokenizer.encode_batch(several)]
    elif callable(tokenizer):
        rows = [_ids(tokenizer(t)) for t in several]
    else:
        raise ArgumentError(f"encode: tokenizer={tokenizer!r} must be a function of a text")
    size = max(map(len, rows)) if length is None else length
    ids = np.full((len(rows), size), pad, np.int64)
    for row, out in zip(rows, ids, strict=True):
        out[: len(row)] = row[:size]
    return ids, np.array([min(len(row), size) for row in rows], np.int64)


def _texts(value: Any) -> list[str]:
    """One text or several as a list, which is empty where it is neither."""
    found = [value] if isinstance(value, str) else []
    if listed(value) and not isinstance(value, dict):
        found = list(value)
    return found if all(isinstance(t, str) for t in found) else []


def _ids(made: Any) -> list[int]:
    if not listed(made):
        raise ArgumentError(f"encode: the tokenizer returned {shown(made)}, and no list of ids")
    return [int(i) for i in made]
