"""The data of a run, opened as its settings say."""

from collections.abc import Mapping, Sequence
import dataclasses
from typing import Any

from medad_jax import files
from medad_jax.data import joint, spec
from medad_jax.engine import processes
from medad_jax.engine.settings import Data
from medad_jax.types import UserError


def open_data(data: Data, splits: tuple[str, ...]) -> spec.Dataset:
  """The data set, or the images on disk, that settings name.

  Args:
    data: the settings.
    splits: what is needed of it.

  Raises:
    UserError: it is absent, damaged or not what the method needs.
  """
  with processes.first_before_others("data"):  # it may build and cache them
    if data.on_disk:
      return _open_disk(data, splits)
    # Test images may be prepared otherwise, such as without augmentation.
    of_tests = [name for name in splits if spec.is_test(name)]
    if data.tested == data.preparation or len(of_tests) == len(splits):
      return _open_built(data, data.tested, splits)
    tests = _open_built(data, data.tested, of_tests)
    others = [name for name in splits if not spec.is_test(name)]
    found = _open_built(data, data.preparation, others).splits
    # The further tests that come with the others are prepared as those.
    return dataclasses.replace(tests, splits={**found, **tests.splits})


def open_tests(
  data: Data, known: Mapping[str, Mapping[str, Any]]
) -> spec.Dataset:
  """The test images of a finished run.

  Args:
    data: the run's settings.
    known: what the run's folder says of its data sets (`Workdir.data`).

  Raises:
    UserError: as `open_data`.
  """
  # A list of files is known by all that a run uses of it; the files that
  # trained are not read again.
  used = [k for facts in known.values() for k in facts["counts"]]
  splits = [*used, "test"] if data.manifest else ["test"]
  return open_data(data, tuple(dict.fromkeys(splits)))


def _open_built(data: Data, text: str, splits: Sequence[str]) -> spec.Dataset:
  return joint.open_sets(
    data.name,
    data.dir,
    image_size=data.stored,
    channels=data.channels,
    preparation=text,
    need=splits,
    further_tests=True,
    known=data.known,
    decoded=data.feed != "records",
  )


def _open_disk(data: Data, splits: tuple[str, ...]) -> spec.Dataset:
  """The user's images on disk; a test set where a list has one."""
  # Pillow is not needed where caches of built sets are read.
  from medad_jax.data import decode, folder, manifest

  if data.manifest:
    path = files.expanded(data.manifest)
    entries, base = manifest.read(path), path.parent
  else:
    base = files.expanded(data.normal or "")
    other = files.expanded(data.unlabelled) if data.unlabelled else None
    entries = manifest.of_folders(base, other)
  there = {entry.split for entry in entries}
  if absent := sorted(set(splits) - there - {"test"}):
    raise UserError(
      f"the method trains on the images {', '.join(absent)}, too, which"
      f" {data.on_disk} has not; give data.unlabelled=DIR (and"
      " data.anomaly_ratio=None), or choose another method."
    )
  if data.unlabelled and manifest.UNLABELLED not in splits:
    raise UserError(
      f"data.unlabelled={data.unlabelled} was given to a method that trains on"
      " normal images alone; leave it out, or choose configs/folder.py:ddad."
    )
  # A list may name images that this method does not use: they are not read.
  wanted = {k for k in there if k in splits or spec.is_test(k)}
  frame = decode.Frame(data.stored, data.channels, data.preparation)
  used = [entry for entry in entries if entry.split in wanted]
  return folder.open_folder(base, used, data.dir, frame, data.axis)
