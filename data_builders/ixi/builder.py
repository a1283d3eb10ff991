"""IXI (healthy T1-weighted brains), one axial slice a subject."""

from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
import functools
import hashlib
from pathlib import Path
import re

from jaxtyping import UInt8
import numpy as np

from data_builders import base, folders, lesions, mni, pictures
from medad_jax.data import columns, decode
from medad_jax.types import UserError

_SPLITS = ("train", "val", "test")
_LESIONS = "test_lesions"
_SUBJECT = re.compile(r"IXI(\d{3})")
_WHOLE = ""  # a source without folders of splits
_PARTS = 10  # of its subjects; one each is for validation and for testing
_CROPPED = "desc-Crop"  # of two files of a subject, the other one is meant


class Builder(base.SetBuilder, skip_registration=True):
  """Axial T1-weighted slices of healthy brains, and such with lesions.

  The source has PNG files of slices or NIfTI volumes in MNI space with 1 mm
  voxels, in folders train, val and test or all in one. In the latter case a
  tenth of the subjects each is for validation and for testing, chosen by a hash
  of the subject number, which the files' names hold: IXI002.png and
  sub-IXI002_ses-M00_T1w.png are of one subject. Of a volume the slice is taken
  and scaled as `mni.axial_slice` says.

  IXI has no abnormal images. The further test set `lesions` has a synthetic
  lesion in every test slice, with its exact mask and its kind as the class.
  """

  CITATION = (
    "IXI, brain-development.org; the selection: Bercea et al., MIDL 2023 (RA)"
  )
  HOMEPAGE = "https://brain-development.org/ixi-dataset"
  COLUMNS = {"organ": "brain", "modality": "MR"}
  LICENSE = "CC BY-SA 3.0"
  SOURCE = (
    "a folder of PNG or NIfTI files whose names hold IXI and three digits, or"
    " one with such folders train, val and test"
  )
  # All 581 train in the publication; the split is that of the same author's
  # later work.
  PUBLISHED = {"train": 465, "val": 58, "test": 58}

  def find(self) -> Mapping[str, list[base.Row]]:
    """The slices of every split, and the test slices with lesions."""
    splits = self._files
    if not any(splits.values()):
      raise UserError(
        f"there are no images of subjects in {self.source}; --source must be"
        f" {self.SOURCE}."
      )
    rows = {
      split: [self._row(path) for path in paths]
      for split, paths in splits.items()
    }
    rows[_LESIONS] = [
      base.Row(
        f"lesions/{self._name(path)}",
        1,
        columns={
          **_patient(path),
          columns.FINDING: lesions.kind_of(_number(path)),
        },
      )
      for path in splits["test"]
    ]
    return rows

  def misfits(self) -> Mapping[Path, str]:
    """Files of no subject or of one that has another, and bad volumes."""
    found: dict[Path, str] = {}
    for listing in self._listings.values():
      found |= listing.misfits
    of = defaultdict(list)
    for path in self._images():
      if _SUBJECT.search(path.name) is None:
        found[path] = "no IXI and three digits in its name"
      else:
        of[_number(path)].append(path)
    for first, *others in of.values():
      for path in others:
        found[path] = f"the same subject as {self._name(first)}"
    headless = {
      path: "no head in its slice, so that no lesion can be drawn"
      for path in self._files["test"]
      if not _has_head(path)
    }
    volumes = [path for path in self._images() if mni.is_volume(path)]
    return {**headless, **mni.problems(volumes), **found}

  def left_out(self) -> Sequence[str]:
    """Counts of files that are not read, and names of cropped ones."""
    counts: Counter[tuple[str, str]] = Counter()
    cropped = []
    for listing in self._listings.values():
      counts.update(listing.left_out)
      cropped += [self._name(path) for path in _cropped(listing.images)]
    found = folders.describe(counts)
    if cropped:
      found.append(
        "files left out, as their subject has one that is not cropped:"
        f" {', '.join(sorted(cropped))}"
      )
    return found

  def has_masks(self) -> bool:
    """Lesions have masks; those of the others are empty."""
    return True

  def encode(self, rows: Sequence[base.Row]) -> Iterator[base.Encoded]:
    """Slices as they are, cut out of volumes, or with a lesion drawn."""
    files = {self._name(path): path for path in self._images()}
    for row in rows:
      name = row.name.removeprefix("lesions/")
      image = _slice(files[name])
      if not row.label:
        yield image, pictures.black(image)
        continue
      drawn, mask = lesions.add(_pixels(image), _number(files[name]))
      white = np.where(mask, np.uint8(255), np.uint8(0))
      yield pictures.encoded(drawn), pictures.encoded(white)

  def _row(self, path: Path) -> base.Row:
    # Volumes are no images that can be verified as such.
    image = None if mni.is_volume(path) else path
    return base.Row(self._name(path), 0, image, columns=_patient(path))

  def _name(self, path: Path) -> str:
    return path.relative_to(self.source).as_posix()

  def _images(self) -> list[Path]:
    return [path for paths in self._files.values() for path in paths]

  @functools.cached_property
  def _listings(self) -> dict[str, folders.Listing]:
    """The files in the folder of each split, or in the source as a whole."""
    apart = all((self.source / name).is_dir() for name in ("train", "test"))
    places = (
      {name: self.source / name for name in _SPLITS}
      if apart
      else {_WHOLE: self.source}
    )
    return {
      name: folders.read(place, (".png", *mni.ENDINGS))
      for name, place in places.items()
    }

  @functools.cached_property
  def _files(self) -> dict[str, list[Path]]:
    """The files of every split, in the order of names."""
    found = {}
    for name, listing in self._listings.items():
      cropped = _cropped(listing.images)
      found[name] = [path for path in listing.images if path not in cropped]
    return _divided(found[_WHOLE]) if _WHOLE in found else found


def _divided(paths: Sequence[Path]) -> dict[str, list[Path]]:
  """Files by split; which one a subject is in depends on the numbers alone."""
  order = sorted({_number(path) for path in paths}, key=_hash)
  share = len(order) // _PARTS
  parts = {"test": order[:share], "val": order[share : 2 * share]}
  where = {n: name for name, part in parts.items() for n in part}
  found: dict[str, list[Path]] = {name: [] for name in _SPLITS}
  for path in paths:
    found[where.get(_number(path), "train")].append(path)
  return found


def _hash(number: int) -> bytes:
  return hashlib.sha256(str(number).encode()).digest()


def _cropped(paths: Sequence[Path]) -> set[Path]:
  """Cropped files whose subject has another file."""
  whole = {_number(path) for path in paths if _CROPPED not in path.name}
  return {p for p in paths if _CROPPED in p.name and _number(p) in whole}


def _has_head(path: Path) -> bool:
  try:
    return lesions.has_head(_pixels(_slice(path)))
  # Verification has a better sentence on a file that cannot be read.
  except Exception:
    return True


def _pixels(image: bytes) -> UInt8[np.ndarray, "h w"]:
  with decode.open_image(image) as picture:
    return np.asarray(picture.convert("L"))


def _slice(path: Path) -> bytes:
  if mni.is_volume(path):
    return pictures.encoded(mni.axial_slice(path))
  return pictures.plain(path.read_bytes())


def _number(path: Path) -> int:
  found = _SUBJECT.search(path.name)
  return int(found[1]) if found else -1


def _patient(path: Path) -> dict[str, str]:
  found = _SUBJECT.search(path.name)
  return {columns.PATIENT: found[0]} if found else {}
