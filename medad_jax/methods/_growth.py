"""Progressive growing: stages of rising resolution that pass weights on.

Karras et al., ICLR 2018, as in DPA (Shvetsova et al., IEEE Access 2021): "stab"
stages train a net at one resolution, and between two of them a "trns" stage
fades the larger one's new modules in.
"""

from collections.abc import Mapping
import dataclasses
import functools
from typing import Any

import jax.numpy as jnp
from jaxtyping import Array, Float, Int
import numpy as np

from medad_jax import types
from medad_jax.nets.perceptual import Layer
from medad_jax.ranges import Count, Width


@dataclasses.dataclass(frozen=True)
class Growth:
  """The resolutions that a net grows through.

  Attributes:
    sides: of the images, each twice the one before, to data.image_size; none
      to train at that size alone.
    layers: of VGG19 at each side but the last, which has `model.layers`.
    transition_steps: of every stage that fades a resolution in.
    stable_steps: at each side but the last, which has `train.steps`.
    smooth: whether the loss is faded, too.
  """

  sides: tuple[Width, ...] = ()
  layers: tuple[Layer, ...] = ()
  transition_steps: Count = 20_000
  stable_steps: Count = 20_000
  smooth: bool = True

  def __post_init__(self):
    # A transition fades from half the side, and a new module halves it.
    doubled = (2 * side for side in self.sides[:-1])
    if tuple(doubled) != self.sides[1:] or len(self.sides) == 1:
      raise types.UserError(
        f"growth.sides={self.sides} was given; name two or more, each twice the"
        " one before, or none to train without growing."
      )
    if len(self.layers) != max(len(self.sides) - 1, 0):
      raise types.UserError(
        f"{len(self.layers)} growth.layers were given with"
        f" {len(self.sides)} growth.sides; name one for each side but the last."
      )

  def stages(self) -> tuple["Stage", ...]:
    """The stages in order; without growing, one of no side.

    The last one is called "train".
    """
    if not self.sides:
      return (Stage("train"),)
    # Each stage reads the one before it alone, which holds all older weights.
    found = [Stage(f"stab{self.sides[0]}", self.sides[0])]
    for side in self.sides[1:]:
      fades = Stage(f"trns{side}", side, self.transition_steps, found[-1].name)
      found += [fades, Stage(f"stab{side}", side, None, fades.name)]
    # As in methods of one stage, so that scores need not know of growing.
    return (*found[:-1], dataclasses.replace(found[-1], name="train"))


@dataclasses.dataclass(frozen=True)
class Stage:
  """One stage of the training.

  Attributes:
    name: of the stage.
    side: of its images; None for those that there are.
    fading: steps over which this resolution is faded in; None for a stage that
      trains with this resolution only.
    before: the stage whose weights it takes over; None for the first.
  """

  name: str
  side: int | None = None
  fading: int | None = None
  before: str | None = None

  def image(
    self, image: Float[Array, "b h h c"], alpha: Float[Array, ""] | None
  ) -> Float[Array, "b y y c"]:
    """Images of this stage, from those of full size.

    Args:
      image: of full size.
      alpha: the share of this resolution, beside half of it; None for all.
    """
    if self.side is None:
      return image
    high = shrunk(image, image.shape[1] // self.side)
    if alpha is None:
      return high
    # Both from full size: the reference does not shrink `high` once more.
    low = shrunk(image, 2 * image.shape[1] // self.side)
    low = low.repeat(2, axis=1).repeat(2, axis=2)
    return (1 - alpha) * low + alpha * high

  def progress(self, step: Int[Array, ""]) -> Float[Array, ""] | None:
    """Progress in (0, 1] of a step, counted from 0; None without fading.

    The reference adds 1/N in float64. The table has these numbers rounded once,
    to the type that everything else is computed in.
    """
    if self.fading is None:
      return None
    table = jnp.asarray(accumulated(self.fading)[: self.fading])
    # Steps after the last one, which no run takes, are as the last one.
    return table[jnp.minimum(step, self.fading - 1)]


@functools.cache
def accumulated(steps: int) -> np.ndarray:
  """1/steps added up in float64, to 1 or above: progress after each step.

  Rounding decides whether `steps` or one more get there.
  """
  # Added one after another, as in a loop; NumPy's plain sums add pairwise.
  sums = np.add.accumulate(np.full(steps + 1, 1 / steps))
  return np.minimum(sums[: np.argmax(sums >= 1) + 1], 1)


def final_steps(steps: int) -> int:
  """Optimizer steps of the reference's last stage where `steps` are asked for.

  It ends when the accumulated progress has reached 1 exactly, which takes one
  step more for some numbers. Other stages end within 1e-6 of it, on time.
  """
  return len(accumulated(steps)) if steps else 0


def shrunk(
  image: Float[Array, "b h h c"], factor: int
) -> Float[Array, "b y y c"]:
  """Images smaller by a power of two: bilinear, without antialiasing.

  A pixel is the mean of the four in the middle of its square, all there are
  with a factor of 2. `jax.image.resize` would average over the whole square.
  """
  if factor == 1:
    return image
  b, h, w, c = image.shape
  # Each square's rows and columns become axes of their own.
  squares = image.reshape(b, h // factor, factor, w // factor, factor, c)
  middle = slice(factor // 2 - 1, factor // 2 + 1)
  return jnp.mean(squares[:, :, middle, :, middle], (2, 4))


def grafted(new: Any, old: Any) -> Any:
  """Parameters that take over what they have in common with others.

  Modules are named after their resolution: what is only in `old` is dropped,
  what is only in `new` stays as drawn.
  """
  # A module that both have has the same arrays in both.
  if not isinstance(new, Mapping):
    return old
  return {k: grafted(v, old[k]) if k in old else v for k, v in new.items()}
