"""Data sets: what a split is, and how one is opened by name.

A set is built once by `python -m medad_jax.build` (TFDS, ArrayRecord) and
resized once: later starts map the cached arrays, with numpy alone.
"""

from collections.abc import Iterable, Mapping
import contextlib
import dataclasses
import hashlib
import json
import os
from pathlib import Path
from typing import Any

from jaxtyping import Bool, Int, UInt8
import numpy as np

from medad_jax import files, shipped
from medad_jax.data import cache, store, unmarked
from medad_jax.data.preparation import Preparation
from medad_jax.types import UserError

SPLITS = store.SPLITS
GENERATED = ("phantom",)  # has no source: rendered when first asked for

_CHANNELS = (1, 3)
_RESIZES = ("stretch", "crop")


@dataclasses.dataclass(frozen=True)
class Split:
  """Images in the order of the source's list; row i is example i.

  Attributes:
    images: 0 to 255; may be a read-only map of a file.
    labels: the true class, 0 normal, 1 abnormal, also where a method must not
      look at it.
    names: file names in the source.
    masks: where the abnormality is; None where the set has none.
    columns: what else is known of each image, a text by the column's name; an
      empty one where it is unknown. `columns.PATIENT` and others have names
      of their own.
    healthy: pixels that are known to be healthy, of sets whose masks are boxes
      drawn around abnormalities: every row that has a class among its columns
      is one box, and an image of several boxes has as many rows. None for
      masks that outline the abnormality itself.
  """

  images: UInt8[np.ndarray, "n h w c"]
  labels: Int[np.ndarray, "n"]
  names: tuple[str, ...]
  masks: Bool[np.ndarray, "n h w"] | None = None
  columns: Mapping[str, tuple[str, ...]] = dataclasses.field(
    default_factory=dict
  )
  healthy: Bool[np.ndarray, "n h w"] | None = None

  def __len__(self) -> int:
    return len(self.labels)


@dataclasses.dataclass(frozen=True)
class Dataset:
  """Some or all splits of a set, at one size.

  Attributes:
    name: what the set was built as.
    splits: the opened splits by name.
    fingerprint: sha256 over everything that decides the pixels of all splits,
      opened or not.
    counts: images in every split of the set, opened or not.
  """

  name: str
  splits: Mapping[str, Split]
  fingerprint: str
  counts: Mapping[str, int]


def open_dataset(
  name: str,
  data_dir: str | os.PathLike[str] | None = None,
  *,
  image_size: int,
  channels: int = 1,
  resize: str | Preparation = "stretch",
  need: Iterable[str] = SPLITS,
  further_tests: bool = False,
) -> Dataset:
  """Opens splits of a built set, resized to square uint8 images.

  An image becomes gray or RGB first and is resized afterwards; masks take the
  nearest pixel. The result is cached under `data_dir`/cache, which is all
  another machine needs.

  Args:
    name: what the set was built as.
    data_dir: where sets are; None for `store.default_data_dir()`.
    image_size: height and width, pixels.
    channels: 1 (gray) or 3 (RGB).
    resize: "stretch" to the square, or "crop" to its middle; or the steps of
      another preparation, which end at `image_size`.
    need: the splits to open; the others are neither read nor required.
    further_tests: whether to open all splits named test_NAME, too.

  Raises:
    UserError: there is no such set or split, or its files are damaged.
  """
  store.check_name(name)
  _check_shape(image_size, channels, resize)
  root = _root(data_dir)
  shape = (image_size, channels, resize)
  place = cache.Cache(root / "cache" / name / _folder_of(*shape))
  folder = store.find_built(root, name)
  facts = place.facts() if folder is None else store.read_facts(folder)
  need = tuple(need)
  made: dict[str, dict[str, Any]] = {}
  if folder is None and name in GENERATED and not place.has(need):
    facts, made = _generate(root / ".building" / name, place, shape)
  if facts is None:
    raise UserError(_not_built(root, name))
  _check_splits(name, facts, need)
  if further_tests:
    need += tuple(k for k in sorted(facts["counts"]) if is_further_test(k))
  splits = {}
  for split in need:
    stored = place.load(split, facts) or made.get(split)
    if stored is None:
      stored = _decode(folder, root, name, split, facts, place, shape)
    splits[split] = Split(**stored)
    _warn_of_unmarked(f"{name}/{split}", splits[split])
  return Dataset(
    name=name,
    splits=splits,
    fingerprint=_fingerprint(facts, *shape),
    counts=dict(facts["counts"]),
  )


def is_further_test(split: str) -> bool:
  """True for a test set beside the main one, `test`."""
  return split.startswith("test_")


def _check_shape(size: int, channels: int, resize: str | Preparation) -> None:
  if channels not in _CHANNELS:
    raise UserError(
      f"{channels} channels were asked for; images are read as 1 (gray) or 3"
      " (RGB): set config.data.channels to one of these."
    )
  if isinstance(resize, Preparation):
    if resize.size != size:
      raise UserError(
        f"the preparation ends with squares of {resize.size} pixels and"
        f" {size} were asked for; set config.data.image_size to the same."
      )
  elif resize not in _RESIZES:
    raise UserError(
      f"data.resize='{resize}' is none of {', '.join(_RESIZES)}; choose one."
    )


def _folder_of(size: int, channels: int, resize: str | Preparation) -> str:
  stretched = f"{size}x{channels}"
  if isinstance(resize, Preparation):
    return (
      f"{stretched}_{hashlib.sha256(repr(resize).encode()).hexdigest()[:12]}"
    )
  return stretched if resize == "stretch" else f"{stretched}_{resize}"


def _fingerprint(
  facts: Mapping[str, Any],
  size: int,
  channels: int,
  resize: str | Preparation,
) -> str:
  # A value's text holds all its fields; a short name is its own.
  how = resize if isinstance(resize, str) else repr(resize)
  decisive = [facts["fingerprints"], size, channels, how, cache.RULE]
  return hashlib.sha256(json.dumps(decisive).encode()).hexdigest()


def _warn_of_unmarked(title: str, split: Split) -> None:
  # A set of boxes also has abnormal images that nobody drew a box in.
  if split.healthy is None:
    unmarked.warn(title, split.names, split.labels, split.masks)


def _root(data_dir: str | os.PathLike[str] | None) -> Path:
  if data_dir is None:
    return store.default_data_dir()
  return files.expanded(data_dir)


def _decode(folder, root, name, split, facts, place, shape) -> dict[str, Any]:
  if folder is None:
    raise UserError(
      f"the cache of {name} in {place.folder} lacks a sound '{split}' split"
      f" and the set itself is not there to make it from; copy the cache"
      f" again, or {_build_command(root, name)}."
    )
  # Pillow and tensorflow_datasets: not needed once the cache is there.
  from medad_jax.data import decode

  stored = decode.read_split(folder, split, decode.Frame(*shape))
  now = store.find_built(root, name)
  if now is None or store.read_facts(now) != facts:
    raise UserError(
      f"the data set {name} in {root} was built anew while it was read; run"
      " the same command again."
    )
  place.store(split, facts, stored)
  # Rather pages of the file, which the system may drop, than memory.
  return place.load(split, facts) or stored


def _generate(work: Path, place: cache.Cache, shape) -> tuple[dict, dict]:
  """Renders the generated set at one size: its facts, and its splits."""
  from medad_jax.data import decode
  from medad_jax.data.phantom import slices

  with contextlib.ExitStack() as stack:
    with contextlib.suppress(OSError):  # nobody else writes there, either
      stack.enter_context(store.locked(work))
    facts = place.facts()
    if facts is not None and place.has(SPLITS):  # another process was faster
      return facts, {}
    frame = decode.Frame(*shape)
    rendered = {split: slices.render(split, frame) for split in slices.COUNTS}
    made = {split: stored for split, (stored, _) in rendered.items()}
    facts = slices.facts({k: digest for k, (_, digest) in rendered.items()})
    for split, stored in made.items():
      place.store(split, facts, stored)
    return facts, made


def _check_splits(name: str, facts, need: tuple[str, ...]) -> None:
  counts = facts["counts"]
  absent = [split for split in need if not counts.get(split)]
  if absent:
    raise UserError(
      f"the data set {name} has no images in {', '.join(absent)}; it has"
      f" {', '.join(f'{k} ({v})' for k, v in counts.items())}: build it from"
      " a source with these splits, or set config.data.name to another set."
    )


def _not_built(root: Path, name: str) -> str:
  built = store.built_names(root)
  there = f"sets there: {', '.join(built)}" if built else "no sets there"
  where = f" in {root} ({there})" if root.is_dir() else f": {root} is no folder"
  return (
    f"there is no data set '{name}'{where}; {_build_command(root, name)}, or"
    " set config.data.dir or MEDAD_DATA_DIR to where it was built."
  )


def _build_command(root: Path, name: str) -> str:
  names = shipped.builder_names()
  known = name in names
  what = name if known else f"BUILDER --name={name}"
  flag = f" --data_dir={root}"
  with contextlib.suppress(UserError):  # without a home there is no default
    if root == store.default_data_dir():
      flag = ""
  command = (
    f"build it with: python -m medad_jax.build {what} --source=DIR{flag}"
  )
  if known:
    return command
  return f"{command} (BUILDER: {', '.join(names)}; folder takes any images)"
