"""The common part of all builders: features, splits, fingerprints.

A builder says which images a split has, in which order; this module checks
the files, hands their bytes to TFDS unchanged, and records what was written.
Nothing here needs TensorFlow: TFDS encodes no image when it is given bytes.
"""

import abc
from collections.abc import Iterable, Iterator, Mapping, Sequence
import contextlib
import dataclasses
import hashlib
import inspect
import io
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import tensorflow_datasets as tfds
import tqdm

from data_builders import leaks, masks, notices, pictures, remote, verify
from medad_jax.data import columns, store
from medad_jax.types import UserError

# Bytes of an encoded image and of its encoded mask.
Encoded = tuple[bytes, bytes | None]


@dataclasses.dataclass(frozen=True)
class Row:
  """One image of a split.

  Attributes:
    name: what the source calls it.
    label: the true class, 0 normal, 1 abnormal.
    path: the image file; None when the image is generated.
    mask: its mask file, if it has one.
    columns: what else is known of it: "patient", "organ", "modality", "group"
      or any other lower-case word, and a text or a whole number as text.
    healthy: the file that marks its healthy pixels, if it has one.
  """

  name: str
  label: int
  path: Path | None = None
  mask: Path | None = None
  columns: Mapping[str, str] = dataclasses.field(default_factory=dict)
  healthy: Path | None = None


class Info(tfds.core.DatasetInfo):
  """A set's facts, which no server knows."""

  def initialize_from_bucket(self) -> None:
    """Leaves out TFDS's look at its server.

    That makes a temporary folder for each builder, which nobody removes.
    """


class SetBuilder(
  tfds.core.GeneratorBasedBuilder, abc.ABC, skip_registration=True
):
  """A data set with the splits of `medad_jax.data.spec`.

  A split is present when it has images. Ids are positions in the source's
  list: TFDS writes rows in hash order, and the reader restores the list's.

  Attributes:
    PUBLISHED: images a split has in the publication.
    COLUMNS: columns that are the same for all images of the set.
    SOURCE: what the source folder must look like; None when it has none.
    MD5: the checksum of the published archive, where it is known.
    BENCHMARK: the source folder's path in MedIAnomaly's ~/MedIAnomaly-Data;
      None for a set that is not there.
    REMOTE: where the source's files are, all of them or their one archive;
      empty where they are not for everybody, or no checksum is published.
    CITATION: who made the images, and who split them.
    HOMEPAGE: where the images are; TFDS records it.
    LICENSE: under which terms.
    FLAGS: the builder's own flags of the command, by name, with what
      `argparse` is told of them. The given ones become options.

  Args:
    source: the folder of the original files; ignored without `SOURCE`.
    origin: what to record as the source; None for the folder.
    work: a folder of what a killed build goes on from; None for none.
    **kwargs: as every TFDS builder.
  """

  VERSION = tfds.core.Version("1.0.0")
  PUBLISHED: ClassVar[Mapping[str, int]] = {}
  COLUMNS: ClassVar[Mapping[str, str]] = {}
  SOURCE: ClassVar[str | None] = None
  MD5: ClassVar[str | None] = None
  BENCHMARK: ClassVar[str | None] = None
  REMOTE: ClassVar[tuple[remote.Remote, ...]] = ()
  CITATION: ClassVar[str]
  HOMEPAGE: ClassVar[str] = ""
  LICENSE: ClassVar[str]
  FLAGS: ClassVar[Mapping[str, Mapping[str, Any]]] = {}

  def __init__(
    self,
    *,
    source: Path = Path(),
    origin: Path | None = None,
    work: Path | None = None,
    **kwargs: Any,
  ):
    self.source = source
    self._origin = origin or source
    self.work = work
    super().__init__(**kwargs)

  @classmethod
  def suffix(cls, options: Mapping[str, Any]) -> str:
    """The end of the set's usual name, by which options make it another set."""
    del options
    return ""

  @abc.abstractmethod
  def find(self) -> Mapping[str, Sequence[Row]]:
    """The rows of every split, in the order that ids count.

    Raises:
      UserError: the source is not what it should be.
    """

  def encode(self, rows: Sequence[Row]) -> Iterable[Encoded]:
    """Encoded images of rows, in order; the files' own bytes by default."""
    return map(self._read, rows)

  def misfits(self) -> Mapping[Path, str]:
    """Files of the source that lack what belongs to them, and what that is."""
    return {}

  def left_out(self) -> Sequence[str]:
    """Sentences about files of the source that are not read."""
    return ()

  def has_masks(self) -> bool:
    """True if examples have masks; a row without one then gets an empty one."""
    return False

  def has_healthy(self) -> bool:
    """True if examples mark healthy pixels, as `spec.Split.healthy` says."""
    return False

  def encode_healthy(self, row: Row, image: bytes) -> bytes:
    """Encoded mark of a row's healthy pixels; the file's own by default."""
    if row.healthy is None:
      return pictures.black(image)
    return pictures.brighter_half(row.healthy.read_bytes())

  def channels(self) -> int:
    """Channels of the images: 1 where all are gray, otherwise 3."""
    with _reading(self.source):
      paths = [row.path for rows in self.find().values() for row in rows]
    return 3 if any(map(pictures.is_color, filter(None, paths))) else 1

  def columns(self) -> tuple[str, ...]:
    """Names of the columns: the set's own, and those of any of its rows."""
    with _reading(self.source):
      rows = [row for part in self.find().values() for row in part]
    names = set(self.COLUMNS).union(*(row.columns for row in rows))
    columns.check(names, type(self).__name__)
    return tuple(sorted(names))

  def _info(self) -> tfds.core.DatasetInfo:
    features: dict[str, Any] = {
      "image": tfds.features.Image(shape=(None, None, self.channels())),
      "label": tfds.features.ClassLabel(names=["normal", "abnormal"]),
      "name": tfds.features.Text(),
      "id": tfds.features.Scalar(np.int64),
    }
    if self.has_masks():
      features["mask"] = tfds.features.Image(shape=(None, None, 1))
    if self.has_healthy():
      features["healthy"] = tfds.features.Image(shape=(None, None, 1))
    if names := self.columns():
      features["columns"] = {name: tfds.features.Text() for name in names}
    return Info(
      builder=self,
      description=inspect.getdoc(type(self)),
      features=tfds.features.FeaturesDict(features),
      supervised_keys=("image", "label"),
      citation=self.CITATION,
      homepage=self.HOMEPAGE,
      license=self.LICENSE,
      metadata=tfds.core.MetadataDict(),
    )

  def _read(self, row: Row) -> Encoded:
    assert row.path is not None, f"{row.name} is not a file"
    image = pictures.plain(row.path.read_bytes())
    if not self.has_masks():
      return image, None
    if row.mask is None:
      return image, pictures.black(image)
    return image, pictures.gray(masks.encoded(row.mask.read_bytes()))

  def _split_generators(self, dl_manager) -> dict[str, Iterator[Any]]:
    del dl_manager  # the user has the files: licenses forbid a download
    with _reading(self.source):
      found = self.find()
    splits = {name: rows for name, rows in found.items() if rows}
    self._check(splits)
    self.info.metadata.update(
      # Without the folders above it, which may name a person.
      source=self._origin.resolve().name if self.SOURCE else "generated",
      counts={name: len(rows) for name, rows in splits.items()},
      published=dict(self.PUBLISHED),
      fingerprints={},
    )
    return {
      name: self._generate_examples(name, rows) for name, rows in splits.items()
    }

  def _check(self, splits: Mapping[str, Sequence[Row]]) -> None:
    """Refuses files that cannot be used, and warns of what looks wrong."""
    with _reading(self.source):
      left_out, misfits = self.left_out(), self.misfits()
    for sentence in left_out:
      notices.warn(sentence)
    rows = [row for part in splits.values() for row in part]
    pairs = [(row.path, row.mask) for row in rows if row.path]
    stray = masks.among([image for image, _ in pairs], self.source)
    digests = verify.verify(
      pairs,
      {**misfits, **stray},
      self.source,
      self.work / "verified.jsonl" if self.work else None,
      healthy=[(row.path, row.healthy) for row in rows if row.path],
    )
    leaks.check(
      {
        split: [
          leaks.Image(_legible(row.name), row.label, digests.get(row.path))
          for row in part
        ]
        for split, part in splits.items()
      }
    )

  def _generate_examples(
    self, split: str, rows: Sequence[Row]
  ) -> Iterator[tuple[int, dict[str, Any]]]:
    digest = hashlib.sha256()
    names = self.columns()
    encoded = tqdm.tqdm(
      self.encode(rows),
      f"writing {split}",
      len(rows),
      unit="image",
      disable=None,  # no bar in log files
    )
    for at, (row, data) in enumerate(zip(rows, encoded, strict=True)):
      known = {**self.COLUMNS, **row.columns}
      row = dataclasses.replace(
        row,
        name=_legible(row.name),
        columns={name: _legible(known.get(name, "")) for name in names},
      )
      healthy = None
      if self.has_healthy():
        healthy = self.encode_healthy(row, data[0])
      digest.update(
        store.identity(at, row.name, row.label, *data, row.columns, healthy)
      )
      yield at, _example(at, row, data, healthy)
    # TFDS saves the metadata after the last split.
    self.info.metadata["fingerprints"][split] = digest.hexdigest()


@contextlib.contextmanager
def _reading(source: Path) -> Iterator[None]:
  try:
    yield
  except OSError as error:
    raise UserError(
      f"{error.filename or source} cannot be read"
      f" ({(error.strerror or str(error)).lower()}); restore it, or make it"
      " readable."
    ) from error


def _legible(name: str) -> str:
  """A name as UTF-8 text; bytes of another encoding become \\xNN."""
  raw = name.encode("utf-8", "surrogateescape")
  return raw.decode("utf-8", "backslashreplace")


def check_inside(names: Iterable[str], origin: Path) -> None:
  """Checks that names stay in the folder that they are relative to.

  Args:
    names: paths of images, as a list of the source has them.
    origin: the list, for the message.

  Raises:
    UserError: a name is absolute or goes through `..`.
  """
  outside = [
    name
    for name in dict.fromkeys(names)
    if Path(name).is_absolute() or ".." in Path(name).parts
  ]
  if outside:
    raise UserError(
      f"{origin} names {len(outside)} files outside of its folder; move them"
      " into it, and name them below it:\n" + notices.listed(outside)
    )


def _example(
  at: int, row: Row, data: Encoded, healthy: bytes | None
) -> dict[str, Any]:
  image, mask = data
  example = {
    "image": io.BytesIO(image),
    "label": row.label,
    "name": row.name,
    "id": at,
  }
  if mask is not None:
    example["mask"] = io.BytesIO(mask)
  if healthy is not None:
    example["healthy"] = io.BytesIO(healthy)
  if row.columns:
    example["columns"] = dict(row.columns)
  return example
