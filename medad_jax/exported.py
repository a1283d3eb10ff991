"""Loader of one-file models; it needs jax and numpy, nothing else.

  import medad_jax
  model = medad_jax.load_exported("model.medad")
  found = model.score(images)  # gray levels as decoded, any size
  found.scores["patchcore"], found.p_values, found.flags

A model file holds a copy of this loader, so that a machine without the package
needs that one file, jax and numpy: with PYTHONPATH=model.medad the lines above
work there, and `python model.medad images.npy` prints scores.

A model file is a zip archive:

  manifest.json     sizes, names, steps of the preparation, threshold, p-values,
                    what the run was, and the SHA-256 of every other entry
  checksum          SHA-256 of manifest.json
  programs/cpu ...  the scorer's program for each platform (jax.export)
  medad_jax/...     this loader
  arrays/000.npy .. its weights
  probe/...         made-up images, and the scores that the run's checkpoint
                    gave them; every load repeats them
"""

from collections.abc import Iterator, Mapping, Sequence
import dataclasses
import hashlib
import io
import json
import math
import os
import sys
from typing import Any
import zipfile

import jax
from jax import export
import numpy as np

from medad_jax import pictures
from medad_jax.pictures import ModelFileError as ModelFileError

FORMAT = 1
_ENTRIES = ("manifest.json", "checksum")
# Largest difference of the probe's scores, in parts of the largest score. On
# the kind of device that exported it sums are the same; others round otherwise.
_SAME, _OTHER = 1e-5, 2e-3


@dataclasses.dataclass(frozen=True)
class Found:
  """Everything that a model finds in images.

  Attributes:
    scores: image scores by name, each [n s], trainings s; the headline last.
    maps: pixel maps by name, each [n s h w]; higher is more abnormal.
    reconstruction: in [-1, 1], [n s h w c]; None where there is none.
    p_values: of the headline, [n s]; None where no image was held out.
    flags: whether the headline is above the threshold, [n s]; None without one.
  """

  scores: Mapping[str, np.ndarray]
  maps: Mapping[str, np.ndarray]
  reconstruction: np.ndarray | None = None
  p_values: np.ndarray | None = None
  flags: np.ndarray | None = None


class Exported:
  """A model from a file, on this machine's first device.

  Attributes:
    manifest: what the file says of itself; `manifest["run"]` is the training.
    difference: of the probe's scores here and at the export, in parts of the
      largest one; 0 where all bits are the same.
  """

  def __init__(self, path: str | os.PathLike[str]):
    """Reads the file, and repeats its probe.

    Raises:
      ModelFileError: it is cut, edited, of another version or platform, or its
        probe gives other scores here.
    """
    entries = _entries(path)
    self.manifest: dict[str, Any] = json.loads(entries["manifest.json"])
    here = platform()
    if here not in self.manifest["platforms"]:
      raise ModelFileError(
        f"{path} was exported for {', '.join(self.manifest['platforms'])} and"
        f" this is a {here}; export it again with --platforms={here}."
      )
    names = sorted(k for k in entries if k.startswith("arrays/"))
    # Placed once: every call would move them again.
    self._arrays = jax.device_put([_array(entries[k]) for k in names])
    size, shape = self.manifest["batch_size"], self.manifest["shape"]
    images = np.zeros((size, *shape), self.manifest["dtype"])
    inputs = self._arrays, images, np.zeros(size, np.int32)
    data = entries[f"programs/{here}"]
    program = _program(path, data, self.manifest, inputs)
    self._call = jax.jit(program.call)
    self.difference = self._probe(path, entries, here)

  @property
  def threshold(self) -> float | None:
    """The headline above which an image is flagged, of the first training."""
    alarms = self.manifest["alarms"]
    return alarms[0]["threshold"] if alarms else None

  def prepare(self, image: np.ndarray) -> np.ndarray:
    """The image that the model is fed, [h w c], from a decoded one.

    Args:
      image: gray levels [h w], [h w 1] or RGB [h w 3], uint8 or uint16.

    Raises:
      ModelFileError: it is something else.
    """
    pictures.check(image)
    side, _, channels = self.manifest["shape"]
    steps = self.manifest["preparation"]
    stored = pictures.prepared(image, steps, channels)
    top, left = (round((s - side) / 2) for s in stored.shape[:2])
    return stored[top : top + side, left : left + side]

  def score(self, images: Sequence[np.ndarray] | np.ndarray) -> Found:
    """Everything that the model finds in decoded images.

    Args:
      images: as for `prepare`, one or more, of any sizes.

    Raises:
      ModelFileError: they are something else, or do not fit into memory.
    """
    pictures.check_all(images)
    try:
      return joined(list(self.batches(images)))
    except MemoryError as error:
      raise ModelFileError(
        f"the maps of {len(images)} images do not fit into this machine's"
        " memory; take them batch after batch, from `batches`."
      ) from error

  def batches(
    self, images: Sequence[np.ndarray] | np.ndarray
  ) -> Iterator[Found]:
    """Yields what `score` finds, batch after batch, for any number of images.

    Raises:
      ModelFileError: as for `score`.
    """
    size = self.manifest["batch_size"]
    for at in range(0, len(images), size):
      some = np.stack([self.prepare(x) for x in images[at : at + size]])
      yield self._found(self._run(some))

  def _run(self, images: np.ndarray) -> dict[str, np.ndarray]:
    """Results of at most a batch of prepared images, on the host."""
    size, count = self.manifest["batch_size"], len(images)
    # The scorer's own padding: one shape, and id -1 on what is repeated.
    rows = np.arange(size) % count
    ids = np.where(np.arange(size) < count, np.arange(size), -1)
    try:
      found = self._call(self._arrays, images[rows], ids.astype(np.int32))
      return {k: np.asarray(v)[:count] for k, v in found.items()}
    except (RuntimeError, MemoryError) as error:
      if "RESOURCE_EXHAUSTED" in str(error) or isinstance(error, MemoryError):
        raise ModelFileError(
          f"{size} images at a time do not fit into this device's memory;"
          f" export the model again with --batch_size={max(size // 4, 1)}."
        ) from error
      raise

  def _found(self, results: dict[str, np.ndarray]) -> Found:
    named: dict[str, dict[str, np.ndarray]] = {"image": {}, "maps": {}}
    for name, values in results.items():
      kind, _, rest = name.partition("/")
      if kind in named:
        named[kind][rest] = values
    scores = {k: named["image"][k] for k in self.manifest["scores"]}
    headline = scores[self.manifest["scores"][-1]]
    p_values, flags = judged(headline, self.manifest["alarms"])
    whole = results.get("reconstruction")
    return Found(scores, named["maps"], whole, p_values, flags)

  def _probe(self, path, entries, here) -> float:
    """The largest difference of the probe's scores from what they were."""
    size = self.manifest["batch_size"]
    found = self._run(_array(entries["probe/images.npy"])[:size])
    worst = 0.0
    for name in self.manifest["scores"]:
      wanted = _array(entries[f"probe/{name}.npy"])[:size]
      largest = float(np.abs(wanted).max()) or 1.0
      gap = np.abs(found[f"image/{name}"] - wanted).max() / largest
      worst = max(worst, float(gap)) if np.isfinite(gap) else math.inf
    same = here == self.manifest["probed_on"]
    if worst > (_SAME if same else _OTHER):
      raise ModelFileError(
        f"{path} gives its probe other scores on this {here} than where it"
        f" was exported (by {worst:.1e} of the largest); update jax and"
        " the device's driver, or score on another device."
      )
    return worst


def load_exported(path: str | os.PathLike[str]) -> Exported:
  """The model in a file, ready to score on this machine's first device.

  Raises:
    ModelFileError: see `Exported`.
  """
  return Exported(path)


def joined(parts: Sequence[Found]) -> Found:
  """Results of several batches as one."""

  def whole(values):
    return None if values[0] is None else np.concatenate(values)

  first = parts[0]
  return Found(
    {k: whole([p.scores[k] for p in parts]) for k in first.scores},
    {k: whole([p.maps[k] for p in parts]) for k in first.maps},
    whole([p.reconstruction for p in parts]),
    whole([p.p_values for p in parts]),
    whole([p.flags for p in parts]),
  )


def judged(
  scores: np.ndarray, alarms: Sequence[Mapping[str, Any]]
) -> tuple[np.ndarray | None, np.ndarray | None]:
  """P-values and flags [n s] of headline scores [n s].

  Args:
    scores: of the images.
    alarms: for each training its "threshold" or None, and the steps of its
      p-values: "levels" [k] in rising order, and "p_values" [k + 1] of scores
      above so many of them.
  """
  if not alarms:
    return None, None
  pairs = list(zip(np.asarray(scores, float).T, alarms, strict=True))
  p_values = [
    np.asarray(one["p_values"])[np.searchsorted(one["levels"], values, "left")]
    for values, one in pairs
  ]
  if any(one["threshold"] is None for one in alarms):
    return np.stack(p_values, 1), None
  flags = [values > one["threshold"] for values, one in pairs]
  return np.stack(p_values, 1), np.stack(flags, 1)


def platform() -> str:
  """The name that programs are exported by, of this machine's devices."""
  device = jax.devices()[0]
  if device.platform != "gpu":
    return device.platform
  return "rocm" if "rocm" in device.client.platform_version else "cuda"


def _entries(path) -> dict[str, bytes]:
  """All entries of a file, whose checksums were compared."""
  try:
    with zipfile.ZipFile(path) as archive:
      found = {name: archive.read(name) for name in archive.namelist()}
  except OSError as error:
    raise ModelFileError(
      f"{path} cannot be read ({error.strerror}); give a model file."
    ) from error
  except Exception as error:  # damage shows in any way
    raise ModelFileError(
      f"{path} is cut or no model file; copy it again."
    ) from error
  absent = [name for name in _ENTRIES if name not in found]
  if absent:
    raise ModelFileError(f"{path} has no {absent[0]}; give a model file.")
  digest = hashlib.sha256(found["manifest.json"]).hexdigest()
  try:
    manifest = json.loads(found["manifest.json"])
    number, listed = manifest["format"], manifest["files"]
  except (ValueError, KeyError, TypeError):
    number, listed, digest = FORMAT, {}, ""
  if number != FORMAT:
    raise ModelFileError(
      f"{path} has format {number} and this loader reads {FORMAT}; update"
      " medad_jax, or use the loader that is inside the file."
    )
  changed = [
    name
    for name, data in found.items()
    if name not in _ENTRIES
    and hashlib.sha256(data).hexdigest() != listed.get(name)
  ]
  changed += sorted(set(listed) - set(found))
  if found["checksum"].decode("ascii", "replace") != digest:
    changed.insert(0, "manifest.json")
  if changed:
    raise ModelFileError(
      f"{path} was changed after it was exported ({changed[0]} differs from its"
      " checksum); copy it again from where it was exported."
    )
  return found


def _program(path, data: bytes, manifest, inputs) -> export.Exported:
  """The program in the file, as `jax.export` hands it over.

  jax's own reader of its files needs a further package. So a program without
  content is exported, and gets the content of the file.
  """
  facts = manifest["programs"]
  low = export.minimum_supported_calling_convention_version
  high = export.maximum_supported_calling_convention_version
  if not low <= facts["convention"] <= high:
    raise ModelFileError(
      f"{path} was exported with jax {manifest['run']['versions']['jax']} and"
      f" jax {jax.__version__} cannot run its program; install that jax, or"
      " export the model again."
    )
  results = facts["results"].items()
  empty = {k: np.zeros(shape, dtype) for k, (shape, dtype) in results}
  frame = export.export(jax.jit(lambda *_: empty), platforms=[platform()])
  return dataclasses.replace(
    frame(*inputs),
    mlir_module_serialized=data,
    calling_convention_version=facts["convention"],
    module_kept_var_idx=tuple(facts["kept"]),
  )


def _array(data: bytes) -> np.ndarray:
  return np.load(io.BytesIO(data), allow_pickle=False)


def main(arguments: Sequence[str]) -> int:
  """Prints scores, of arguments MODEL and IMAGES.npy; returns the status."""
  if len(arguments) != 2:
    print("give a .npy file of images [n h w] or [n h w c].", file=sys.stderr)
    return 2
  try:
    model = load_exported(arguments[0])
    found = model.score(np.load(arguments[1], allow_pickle=False))
  except (ModelFileError, OSError, ValueError) as error:
    print(error, file=sys.stderr)
    return 2
  name, values = list(found.scores.items())[-1]
  print(f"image,{name},p_value,flag")
  for row, value in enumerate(values[:, 0]):
    p = "" if found.p_values is None else f"{found.p_values[row, 0]:.6g}"
    flag = "" if found.flags is None else int(found.flags[row, 0])
    print(f"{row},{value:.9g},{p},{flag}")
  return 0
