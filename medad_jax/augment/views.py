"""Training views: random steps on the device, named by a text.

A view is made of the stored gray levels before they are scaled, so that black
comes in from outside and fractional levels can be cut off exactly.
"""

from collections.abc import Mapping
import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, PRNGKeyArray, Shaped

from medad_jax import rng
from medad_jax.augment import geometry
from medad_jax.types import UserError

_GRAMMAR = (
  "truncate, affine:DEGREES:TRANSLATE:SCALE (up to 180, 0.5 and 0.5), flip,"
  " flip_vertical, crop, and once before all others"
)
_SHOWN = 80  # characters of a text in a sentence


@dataclasses.dataclass(frozen=True)
class Affine:
  """A random affine map by nearest pixels, as torchvision's RandomAffine.

  Attributes:
    degrees: the largest angle, both ways.
    translate: the largest shift, as a share of the side, both ways.
    scale: the largest change of the size, as a share, both ways.
  """

  degrees: float
  translate: float
  scale: float

  def __call__(self, key: PRNGKeyArray, image: Array, size: int) -> Array:
    """The moved image."""
    factors = (1 - self.scale, 1 + self.scale)
    return geometry.random_affine(
      key, image, self.degrees, self.translate, factors
    )


@dataclasses.dataclass(frozen=True)
class Flip:
  """A mirror image with probability 1/2.

  Attributes:
    axis: 1 swaps left and right, 0 top and bottom.
  """

  axis: int = 1

  def __call__(self, key: PRNGKeyArray, image: Array, size: int) -> Array:
    """The image, mirrored or not."""
    return geometry.random_flip(key, image, self.axis)


@dataclasses.dataclass(frozen=True)
class Crop:
  """A square of the fed size at a random place."""

  def __call__(self, key: PRNGKeyArray, image: Array, size: int) -> Array:
    """The square."""
    return geometry.random_crop(key, image, size)


@dataclasses.dataclass(frozen=True)
class Truncate:
  """Gray levels without their fractions, as a conversion to 8 bits leaves."""

  def __call__(self, key: PRNGKeyArray, image: Array, size: int) -> Array:
    """The image of whole levels, of the same type."""
    # Levels are never negative, so that cutting off rounds down.
    return jnp.floor(image).astype(image.dtype)


Step = Affine | Flip | Crop | Truncate


@dataclasses.dataclass(frozen=True)
class Views:
  """Random views of a member's training images.

  Attributes:
    steps: in their order.
    size: of the images that the method is fed, pixels a side.
    once: whether an image has one view throughout, the same in every run, as
      where prepared images were cached after random steps.
  """

  steps: tuple[Step, ...]
  size: int
  once: bool = False

  def __call__(
    self, key: PRNGKeyArray, rows: Mapping[str, Any]
  ) -> dict[str, Any]:
    """The rows of one member's batch with views in the images' places.

    What was prepared of an image, an array [b h w ...], is moved with it. Its
    second image has draws of its own.

    Args:
      key: the member's, of this step.
      rows: arrays [b ...] by name, among them "slot", "id" and, of gray
        levels, "image" and perhaps "source".
    """
    # By the place in the global batch, so that devices change nothing; or by
    # the image, whatever the step.
    places = rows["id"] if self.once else rows["slot"]
    key = jax.random.key(0) if self.once else key
    keys = {
      name: rng.per_example(rng.stream(key, f"view/{name}"), places)
      for name in ("image", "source")
    }
    sides = rows["image"].shape[1:3]
    found = dict(rows)
    for name, values in rows.items():
      if values.shape[1:3] == sides:
        levels = name in keys
        found[name] = jax.vmap(lambda k, x, n=levels: self._view(k, x, n))(
          keys["source" if name == "source" else "image"], values
        )
    return found

  def _view(
    self, key: PRNGKeyArray, image: Shaped[Array, "h w *c"], levels: bool
  ) -> Shaped[Array, "size size *c"]:
    """The view of an image or, with the same draws, of what belongs to it."""
    view = image.reshape(*image.shape[:2], -1)
    for place, step in enumerate(self.steps):
      # Masks and the like have no gray levels.
      if levels or not isinstance(step, Truncate):
        view = step(jax.random.fold_in(key, place), view, self.size)
    # Without a crop, the part of a larger image that is scored.
    view = geometry.center(view, self.size)
    return view.reshape(self.size, self.size, *image.shape[2:])


def parse(text: str, size: int, stored: int) -> Views | None:
  """The views that a text names; None where images are fed as they are stored.

  Args:
    text: steps with commas between, in their order; may be empty. `truncate`
      (gray levels without fractions), `affine:DEGREES:TRANSLATE:SCALE` (see
      `Affine`), `flip` (left and right), `flip_vertical`, `crop` (to the fed
      size at a random place; without it the middle is fed). After `once` the
      draws are an image's own, and the same in every step.
    size: of the images that are fed, pixels a side.
    stored: of the images that are stored, pixels a side.

  Raises:
    UserError: it names none, or there is nothing to crop.
  """
  parts = [part.strip() for part in text.split(",")] if text.strip() else []
  once = parts[:1] == ["once"]
  steps = tuple(_step(part, text) for part in parts[once:])
  if Crop() in steps and stored == size:
    raise UserError(
      f"data.augment='{text[:_SHOWN]}' crops, but images are stored at the"
      f" {size} pixels that are fed; set data.stored_size to more, or leave"
      " crop out."
    )
  return Views(steps, size, once) if steps or stored != size else None


_PLAIN: Mapping[str, Step] = {
  "truncate": Truncate(),
  "flip": Flip(),
  "flip_vertical": Flip(axis=0),
  "crop": Crop(),
}
# The largest numbers of an affine step: pixels of up to 8192 a side then stay
# inside the 15 bits that its fixed point leaves them.
_MOST = (180.0, 0.5, 0.5)


def _step(part: str, text: str) -> Step:
  """One step of a text."""
  name, *numbers = part.split(":")
  if name in _PLAIN and not numbers:
    return _PLAIN[name]
  try:
    values = [float(number) for number in numbers]
  except ValueError:
    values = []
  if name == "affine" and len(values) == 3:
    # False for what is not a number, too.
    if all(0 <= v <= most for v, most in zip(values, _MOST, strict=True)):
      return Affine(*values)
  raise UserError(
    f"data.augment='{text[:_SHOWN]}' has '{part[:_SHOWN]}', which is no step;"
    f" write steps with commas between, of {_GRAMMAR}."
  )
