"""Facts on every image of a built set, by which it is audited."""

from collections.abc import Mapping
import concurrent.futures
import dataclasses
import hashlib
import os
from pathlib import Path

from jaxtyping import Float, Int
import numpy as np
import tensorflow_datasets as tfds

from medad_jax.data import alike, decode

_CHUNK = 32  # records a thread reads at a time
# Scores that look at no anatomy. Symmetry is that of the thumbnail to its
# mirror image: views of a head or a chest differ in it.
SCORES = (
  "mean brightness",
  "contrast",
  "file size",
  "image width",
  "image height",
  "left-right symmetry",
)


@dataclasses.dataclass(frozen=True)
class Seen:
  """The images of a split in the order of their ids.

  Attributes:
    names: what the source calls them.
    labels: 0 normal, 1 abnormal.
    columns: texts by column.
    files: sha256 of each file.
    pixels: sha256 of each decoded picture and its size.
    small: thumbnails of `data.alike`.
    scores: of `SCORES` by name.
    sizes: width and height as text.
  """

  names: tuple[str, ...]
  labels: Int[np.ndarray, "n"]
  columns: Mapping[str, tuple[str, ...]]
  files: tuple[bytes, ...]
  pixels: tuple[bytes, ...]
  small: Float[np.ndarray, "n d"]
  scores: Mapping[str, Float[np.ndarray, "n"]]
  sizes: tuple[str, ...]


def records(folder: Path, split: str):
  """The encoded records of a split, in TFDS's order."""
  builder = tfds.builder_from_directory(folder)
  decoders = {"image": tfds.decode.SkipDecoding()}
  for name in ("mask", "healthy"):
    if name in builder.info.features:
      decoders[name] = tfds.decode.SkipDecoding()
  return builder.as_data_source(split, decoders=decoders)


def look(folder: Path, split: str, count: int) -> Seen:
  """Decodes a split's images, in parallel."""
  source = records(folder, split)
  found: list[tuple] = [()] * count

  def read(start: int) -> None:
    for record in source.__getitems__(
      list(range(start, min(start + _CHUNK, count)))
    ):
      found[int(record["id"])] = _facts(record)

  # Threads: Pillow decodes without the interpreter's lock.
  with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
    list(pool.map(read, range(0, count, _CHUNK)))
  names, labels, texts, files, pixels, small, scores, sizes = zip(
    *found, strict=True
  )
  return Seen(
    names,
    np.array(labels, int),
    {k: tuple(text[k] for text in texts) for k in texts[0]},
    files,
    pixels,
    np.stack(small),
    dict(zip(SCORES, np.array(scores, float).T, strict=True)),
    sizes,
  )


def _facts(record) -> tuple:
  data = record["image"]
  with decode.open_image(data) as picture:
    whole, gray = np.asarray(picture), picture.convert("L")
  levels = np.asarray(gray, np.float32)
  little = alike.little(np.asarray(gray))
  small = alike.centered(little)
  symmetry = float(small @ alike.centered(little[:, ::-1]))
  width, height = gray.size
  text = record.get("columns", {})
  return (
    record["name"].decode(),
    int(record["label"]),
    {name: value.decode() for name, value in text.items()},
    hashlib.sha256(data).digest(),
    hashlib.sha256(str(whole.shape).encode() + whole.tobytes()).digest(),
    small,
    (levels.mean(), levels.std(), len(data), width, height, symmetry),
    f"{width}x{height}",
  )
