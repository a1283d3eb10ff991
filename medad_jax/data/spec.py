"""Data sets: what a split is, and how one is opened by name.

A set is built once by `python -m medad_jax.build` (TFDS, ArrayRecord) and
prepared once: later starts map the cached arrays, with numpy alone.
"""

from collections.abc import Iterable, Mapping
import contextlib
import dataclasses
import hashlib
import json
import os
from pathlib import Path
from typing import Any

from jaxtyping import Bool, Int
import numpy as np

from medad_jax import files, shipped
from medad_jax.augment import geometry
from medad_jax.data import (
  cache,
  columns,
  joined,
  preparation,
  records,
  store,
  unmarked,
)
from medad_jax.types import UserError

SPLITS = store.SPLITS
# These have no source: they are rendered when first asked for.
GENERATED = ("phantom", "phantom_chest")

_CHANNELS = (1, 3)
_SHOWN = ("sentences", "counts", "published")  # of an audit, in reports
_SHORT = ("stretch", "crop")


@dataclasses.dataclass(frozen=True)
class Split:
  """Images in the order of the source's list; row i is example i.

  Attributes:
    images: gray levels from 0 to 255; may be a read-only map of a file, or
      records that are decoded when rows are read.
    labels: the true class, 0 normal, 1 abnormal, also where a method must not
      look at it.
    names: file names in the source.
    masks: where the abnormality is; None where the set has none.
    columns: what else is known of each image, a text by the column's name; an
      empty one where it is unknown. `columns.PATIENT` and others have names
      of their own.
    healthy: pixels that are known to be healthy, of sets whose masks are boxes
      drawn around abnormalities: every row that has a finding among its columns
      is one box, and an image of several boxes has as many rows. None for
      masks that outline the abnormality itself.
  """

  images: joined.Rows
  labels: Int[np.ndarray, "n"]
  names: tuple[str, ...]
  masks: Bool[np.ndarray, "n h w"] | None = None
  columns: Mapping[str, tuple[str, ...]] = dataclasses.field(
    default_factory=dict
  )
  healthy: Bool[np.ndarray, "n h w"] | None = None

  def __len__(self) -> int:
    return len(self.labels)

  def center(self, size: int) -> "Split":
    """The middle squares of images and masks, without a copy of them."""
    masks, healthy = (
      None if marks is None else geometry.center(marks[..., None], size)[..., 0]
      for marks in (self.masks, self.healthy)
    )
    images = joined.center(self.images, size)
    return dataclasses.replace(
      self, images=images, masks=masks, healthy=healthy
    )


@dataclasses.dataclass(frozen=True)
class Dataset:
  """Some or all splits of a set, at one size.

  Attributes:
    name: what the set was built as.
    splits: the opened splits by name.
    fingerprint: sha256 over everything that decides the pixels of all splits,
      opened or not.
    counts: images in every split of the set, opened or not.
    audits: "sentences", "counts" and "published" counts of the audit of each
      set, by its name; none of a set that was not audited.
  """

  name: str
  splits: Mapping[str, Split]
  fingerprint: str
  counts: Mapping[str, int]
  audits: Mapping[str, Mapping[str, Any]] = dataclasses.field(
    default_factory=dict
  )


def open_dataset(
  name: str,
  data_dir: str | os.PathLike[str] | None = None,
  *,
  image_size: int,
  channels: int = 1,
  preparation: str = "stretch",
  need: Iterable[str] = SPLITS,
  further_tests: bool = False,
  decoded: bool = True,
) -> Dataset:
  """Opens splits of a built set, prepared as square images.

  The result is cached under `data_dir`/cache, which is all another machine
  needs.

  Args:
    name: what the set was built as.
    data_dir: where sets are; None for `store.default_data_dir()`.
    image_size: height and width, pixels.
    channels: 1 (gray) or 3 (RGB).
    preparation: what is done with every picture, as `preparation.parse` reads
      it.
    need: the splits to open; the others are neither read nor required.
    further_tests: whether to open all splits named test_NAME, too.
    decoded: whether training images are decoded here, and not whenever they
      are read. Test images always are.

  Raises:
    UserError: there is no such set or split, its files are damaged, or the
      preparation is none.
  """
  store.check_name(name)
  _check_channels(channels)
  root = _root(data_dir)
  shape = (image_size, channels, _one_text(preparation, image_size))
  place = cache.Cache(root / "cache" / name / _folder_of(*shape))
  folder = store.find_built(root, name)
  need = tuple(need)
  if not (decoded or folder or all(map(is_test, need))):
    raise UserError(_no_records(root, name))
  facts, made = _facts(root, name, folder, place, shape, need)
  _check_splits(name, facts, need)
  if further_tests:
    need += tuple(k for k in sorted(facts["counts"]) if is_further_test(k))
  audit = {} if folder is None else store.read_audit(folder)
  splits = {}
  for split in need:
    where = (folder, root, name, split, facts)
    if decoded or is_test(split):
      stored = place.load(split, facts) or made.get(split)
      stored = stored or _decode(*where, place, shape)
    else:
      stored = _encoded(*where, shape)
    splits[split] = _with_twins(Split(**stored), audit, split)
    _warn_of_unmarked(f"{name}/{split}", splits[split])
  fingerprint = _fingerprint(facts, *shape)
  audits = {name: {k: audit[k] for k in _SHOWN}} if audit else {}
  return Dataset(name, splits, fingerprint, dict(facts["counts"]), audits)


def is_test(split: str) -> bool:
  """True for the main test set and the further ones."""
  return split == "test" or is_further_test(split)


def is_further_test(split: str) -> bool:
  """True for a test set beside the main one, `test`."""
  return split.startswith("test_")


def _with_twins(split: Split, audit: Mapping[str, Any], name: str) -> Split:
  """The split with columns on images that other splits have, too."""
  found = dict(split.columns)
  for kind, column in (
    ("twins", columns.TWIN),
    ("near_twins", columns.NEAR_TWIN),
  ):
    texts = [""] * len(split)
    for other, pairs in audit.get(kind, {}).get(name, {}).items():
      for row, _ in pairs:
        texts[row] = f"{texts[row]} {other}".strip()
    if any(texts):
      found[column] = tuple(texts)
  return dataclasses.replace(split, columns=found)


def memory_bytes() -> int:
  """Bytes of this machine's memory."""
  return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")


def _check_channels(channels: int) -> None:
  if channels not in _CHANNELS:
    raise UserError(
      f"{channels} channels were asked for; images are read as 1 (gray) or 3"
      " (RGB): set config.data.channels to one of these."
    )


def _one_text(text: str, size: int) -> str:
  """The text that stands for all texts of the same preparation."""
  steps = preparation.parse(text, size)
  for short in _SHORT:
    if steps == preparation.parse(short, size):
      return short
  return str(steps)


def _folder_of(size: int, channels: int, text: str) -> str:
  folder = f"{size}x{channels}"
  if text == "stretch":
    return folder
  # Steps may be too many for a file's name.
  short = text if text in _SHORT else hashlib.sha256(text.encode()).hexdigest()
  return f"{folder}_{short[:12]}"


def _fingerprint(
  facts: Mapping[str, Any], size: int, channels: int, text: str
) -> str:
  decisive = [facts["fingerprints"], size, channels, text, cache.RULE]
  return hashlib.sha256(json.dumps(decisive).encode()).hexdigest()


def _check_memory(name: str, facts: Mapping[str, Any], splits, shape) -> None:
  """Raises UserError where decoded splits would not fit into memory."""
  size, channels, text = shape
  levels = np.dtype(preparation.parse(text, size).dtype)
  count = sum(facts["counts"][split] for split in splits)
  needed = count * size**2 * channels * levels.itemsize
  if needed > memory_bytes():
    raise UserError(
      f"{', '.join(splits)} of {name} take {needed / 1e9:,.0f} GB at {size}"
      f" pixels a side, and this machine has {memory_bytes() / 1e9:,.0f} GB of"
      " memory; lower config.data.stored_size, or config.data.image_size where"
      " that is not given, or set config.data.feed to records."
    )


def _warn_of_unmarked(title: str, split: Split) -> None:
  # A set of boxes also has abnormal images that nobody drew a box in.
  if split.healthy is None:
    unmarked.warn(title, split.names, split.labels, split.masks)


def _root(data_dir: str | os.PathLike[str] | None) -> Path:
  if data_dir is None:
    return store.default_data_dir()
  return files.expanded(data_dir)


def _facts(root, name, folder, place, shape, need) -> tuple[dict, dict]:
  """Counts and fingerprints of a set, and the splits rendered for them."""
  if folder is not None:
    return store.read_facts(folder), {}
  if name in GENERATED and not place.has(need):
    return _generate(root / ".building" / name, place, shape)
  facts = place.facts()
  if facts is None:
    raise UserError(_not_built(root, name))
  return facts, {}


def _decode(folder, root, name, split, facts, place, shape) -> dict[str, Any]:
  if folder is None:
    raise UserError(
      f"the cache of {name} in {place.folder} lacks a sound '{split}' split"
      f" and the set itself is not there to make it from; copy the cache"
      f" again, or {_build_command(root, name)}."
    )
  _check_memory(name, facts, (split,), shape)
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


def _encoded(folder, root, name, split, facts, shape) -> dict[str, Any]:
  """A split whose images stay in the set's records."""
  from medad_jax.data import decode

  place = cache.Cache(root / "cache" / name / "records")
  stored = place.load(split, facts)
  if stored is None:
    stored = decode.read_places(folder, split)
    place.store(split, facts, stored)
  places = stored.pop("places")
  images = records.Records(folder, split, decode.Frame(*shape), places)
  return {**stored, "images": images}


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
    name = place.folder.parent.name
    _check_memory(name, slices.facts({}, name), SPLITS, shape)
    frame = decode.Frame(*shape)
    rendered = {
      split: slices.render(split, frame, name) for split in slices.COUNTS
    }
    made = {split: stored for split, (stored, _) in rendered.items()}
    digests = {k: digest for k, (_, digest) in rendered.items()}
    facts = slices.facts(digests, name)
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
  if name == "folder":  # of configs/folder.py, mostly without its flag
    where += "; give your images with --config.data.normal=DIR, or"
    return f"there is no data set 'folder'{where} {_build_command(root, name)}."
  return (
    f"there is no data set '{name}'{where}; {_build_command(root, name)}, or"
    " set config.data.dir or MEDAD_DATA_DIR to where it was built."
  )


def _no_records(root: Path, name: str) -> str:
  return (
    "data.feed='records' reads images from the files of a built set, and there"
    f" are none of {name} in {root}; leave data.feed out, or"
    f" {_build_command(root, name)}."
  )


def _build_command(root: Path, name: str) -> str:
  names = shipped.builder_names()
  known = name in names
  what = name if known else f"BUILDER --name={name}"
  flag = f" --data_dir={root}"
  with contextlib.suppress(UserError):  # without a home there is no default
    if root == store.default_data_dir():
      flag = ""
  # A generated set needs no source.
  source = "" if name in GENERATED else " --source=DIR"
  command = f"build it with: python -m medad_jax.build {what}{source}{flag}"
  if known:
    return command
  return f"{command} (BUILDER: {', '.join(names)}; folder takes any images)"
