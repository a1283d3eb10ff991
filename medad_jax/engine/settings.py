"""Settings of a run: everything in a configuration but the method's fields."""

import dataclasses
from typing import Literal

import numpy as np

from medad_jax.augment import views
from medad_jax.data import preparation, volumes
from medad_jax.ranges import (
  Count,
  Devices,
  FixedInner,
  FixedPart,
  Megabytes,
  Seconds,
  Seed,
  Side,
  StoredSide,
)
from medad_jax.types import UserError

_LAST_SEED = 2**31 - 1


@dataclasses.dataclass(frozen=True)
class Data:
  """The images of a run.

  Attributes:
    name: of the data set; of several, with commas, that are trained jointly; of
      one with classes as "cifar10:3", where 3 is the normal class.
    dir: folder of the built sets; None for $MEDAD_DATA_DIR.
    normal: folder of normal images, which are trained on instead of a set;
      there is no test then. None for the set.
    unlabelled: beside `normal`, folder of images that nobody knows anything
      of, for methods that learn from such, too.
    manifest: CSV file that lists images on disk, instead of a set or of these
      folders. See `data.manifest.read`.
    axis: that volumes on disk are cut across.
    organ: of each set, with commas, instead of its own column of that name.
    modality: the same.
    sampling: "natural" trains on every image equally often, "balanced" on
      every set, by repeating images of the smaller ones.
    image_size: pixels a side, of the images that the method is fed.
    channels: 1 for gray, 3 for RGB.
    preparation: what is done with a picture before it is stored, once: steps
      with commas between, of gray, crop:N, pad, equalize, resize:N[:lanczos],
      shorter:N[:lanczos] and shrink:N, or the short name stretch or crop. See
      `data.preparation.parse`.
    test_preparation: of test images, and of others that are scored later; None
      for `preparation`.
    stored_size: pixels a side of the stored images; None for `image_size`. Of
      larger ones the middle is scored, and the middle or a random part is
      trained on.
    augment: what is done with training images on the device, anew in every
      step: steps with commas between, of truncate,
      affine:DEGREES:TRANSLATE:SCALE, flip, flip_vertical and crop; after `once`
      an image has the same draws in every step. See
      `augment.views.parse`.
    feed: "resident" (on the devices), "grain" (decoded once, from files),
      "records" (decoded anew whenever they are read, from the records of a
      built set) or None to choose by size, of the first two.
    workers: processes that decode for the feed "records"; None for one a core.
    resident_mb: the largest set, in MB, that is kept on the devices.
  """

  name: str = "phantom"
  dir: str | None = None
  normal: str | None = None
  unlabelled: str | None = None
  manifest: str | None = None
  axis: volumes.Axis = "axial"
  organ: str | None = None
  modality: str | None = None
  sampling: Literal["natural", "balanced"] = "natural"
  image_size: Side = 64
  channels: Literal[1, 3] = 1
  preparation: str = "stretch"
  test_preparation: str | None = None
  stored_size: StoredSide | None = None
  augment: str = ""
  feed: Literal["resident", "grain", "records"] | None = None
  workers: Count | None = None
  resident_mb: Megabytes = 2000.0

  def __post_init__(self):
    if self.stored < self.image_size:
      raise UserError(
        f"data.stored_size={self.stored} is smaller than"
        f" data.image_size={self.image_size}, which is fed; raise it, or leave"
        " it out."
      )
    if self.unlabelled and not self.normal:
      raise UserError(
        f"data.unlabelled={self.unlabelled} was given without data.normal; give"
        " the folder of normal images, too."
      )
    if self.normal and self.manifest:
      raise UserError(
        f"data.normal={self.normal} and data.manifest={self.manifest} were"
        " given; give one of them."
      )
    mixed = any(sign in self.name for sign in ",:@")
    if self.feed == "records" and (self.on_disk or mixed):
      raise UserError(
        f"data.feed='records' was given for {self.on_disk or self.name}; it"
        " reads one built set, without a class: build one, or leave it out."
      )
    # Read here, so that a mistake is found before any data are.
    kind = preparation.parse(self.preparation, self.stored).dtype
    try:
      tested = preparation.parse(self.tested, self.stored).dtype
    except UserError as error:  # it is named after the usual field
      wrong = str(error).replace("data.preparation", "data.test_preparation")
      raise UserError(wrong) from None
    if tested != kind:
      raise UserError(
        f"data.preparation='{self.preparation}' and data.test_preparation="
        f"'{self.test_preparation}' end in different types of gray levels; let"
        " both or neither end with shrink."
      )
    views.parse(self.augment, self.image_size, self.stored)

  @property
  def stored(self) -> int:
    """Pixels a side of the stored images."""
    return self.stored_size or self.image_size

  @property
  def on_disk(self) -> str | None:
    """The list or the folder of the user's images; None for a built set."""
    return self.manifest or self.normal

  @property
  def tested(self) -> str:
    """The preparation of images that are scored."""
    return self.test_preparation or self.preparation

  @property
  def trained(self) -> str:
    """Text that tells training images of one set as it is tested apart."""
    if self.tested == self.preparation:
      return str(self.view)
    return f"{self.preparation} {self.view}"

  @property
  def known(self) -> dict[str, str]:
    """Columns that these settings know of the sets, by name."""
    found = {"organ": self.organ, "modality": self.modality}
    return {name: text for name, text in found.items() if text is not None}

  @property
  def shape(self) -> tuple[int, int, int]:
    """Height, width and channels of the images that the method is fed."""
    return self.image_size, self.image_size, self.channels

  @property
  def dtype(self) -> type[np.generic]:
    """The type of the stored gray levels, uint8 or float32."""
    return preparation.parse(self.preparation, self.stored).dtype

  @property
  def view(self) -> views.Views | None:
    """The view of stored images in training; None where it sees these."""
    return views.parse(self.augment, self.image_size, self.stored)


@dataclasses.dataclass(frozen=True)
class Validation:
  """Normal images that are held out of training.

  Attributes:
    share: of the normal images.
    every: epochs between two measurements.
  """

  share: FixedPart = 0.0
  every: Count = 10


@dataclasses.dataclass(frozen=True)
class Axes:
  """Devices along each axis; None to choose by their number.

  Attributes:
    member: devices that share the members.
    batch: devices that share a batch.
  """

  member: Devices | None = None
  batch: Devices | None = None


@dataclasses.dataclass(frozen=True)
class Evaluation:
  """Scores of trained members, and what is made of them.

  Attributes:
    batch_size: images at a time.
    false_alarms: the rate that the threshold from held-out normal images
      allows.
    confidence: of the rate, over the choice of the held-out images; None for a
      rate on average.
    prevalence: of abnormal images where the model will be used, for predictive
      values; None for none.
  """

  batch_size: Count = 64
  false_alarms: FixedInner = 0.05
  confidence: FixedInner | None = None
  prevalence: FixedInner | None = None


@dataclasses.dataclass(frozen=True)
class Settings:
  """A run's settings.

  Attributes:
    seed: the first seed.
    seeds: trainings in one program, from `seed` on.
    select: which weights of a phase count: "last", "average" for their mean
      over the second half, or those of the best value of a monitor, "synthetic"
      or "validation_loss".
    keep_checkpoints: whether every validation keeps the states that it sees,
      for `medad_jax.by_step`.
    parallel: how a program is spread over devices.
    until: the last stage to train before the evaluation; None for all.
    reuse: folder of another run, whose finished stages are taken over where
      training would give the same.
    steps_per_call: optimizer steps of one compiled call.
    checkpoint_seconds: at least so long between two checkpoints.
    data: the images.
    validation: the images held out of training.
    mesh: the devices.
    evaluation: the batches that are scored.
  """

  seed: Seed = 0
  seeds: Count = 1
  select: str = "last"
  until: str | None = None
  reuse: str | None = None
  keep_checkpoints: bool = False
  parallel: Literal["jit", "pmap"] = "jit"
  steps_per_call: Count = 8
  checkpoint_seconds: Seconds = 120.0
  data: Data = Data()
  validation: Validation = Validation()
  mesh: Axes = Axes()
  evaluation: Evaluation = Evaluation()

  def __post_init__(self):
    last = self.seed + self.seeds - 1
    if last > _LAST_SEED:
      raise UserError(
        f"seed={self.seed} and seeds={self.seeds} were given, so that the last"
        f" seed is {last}; lower them to end at {_LAST_SEED} or below."
      )
