"""Healthy generated slices: an axial, T1-like view of a head.

Coordinates run from -1 to 1, x to the right, y downwards; intensities from 0
to 1 before the acquisition. Every draw is independent, nothing is measured
from patients.
"""

import dataclasses
import functools

from jaxtyping import Float
import numpy as np

SIZE = 128  # height and width, pixels

Map = Float[np.ndarray, "h w"]


@dataclasses.dataclass(frozen=True)
class Head:
  """A slice before the acquisition.

  Attributes:
    signal: tissue intensities, about 0 to 1.
    brain: how far a pixel is brain, 0 to 1; where lesions can grow.
    depth: 0 in the middle of the head, 1 at the skin.
    white: intensity of white matter.
    fluid: intensity of cerebrospinal fluid.
  """

  signal: Map
  brain: Map
  depth: Map
  white: float
  fluid: float


def head(rng: np.random.Generator) -> Head:
  """Draws a healthy slice."""
  x, y = frame(rng)
  depth = np.hypot(x / rng.normal(0.78, 0.014), y / rng.normal(0.94, 0.012))
  brain = step(0.84 + 0.012 * field(rng, 5) - depth, 0.03)
  white = rng.normal(0.60, 0.012)
  gray = white - rng.uniform(0.06, 0.22)
  fluid = rng.uniform(0.14, 0.20)
  signal = _cortex(rng, depth, white, gray, fluid)
  signal = _deep(rng, signal, x, y, white, gray)
  signal = _ventricles(rng, signal, x, y, fluid)
  signal = _midline(rng, signal, x, y, depth, fluid)
  signal = _vessels(rng, signal, x, y, depth)
  signal = _skull(rng, signal, depth, brain, fluid)
  return Head(signal, brain, depth, white, fluid)


def acquire(rng: np.random.Generator, signal: Map) -> Map:
  """A scanner's image of a signal: coil shading, contrast, noise.

  Every pixel depends on its own signal alone, so that a lesion changes no
  pixel outside its mask. The noise is Rician, as in magnitude images.
  """
  shading = np.exp(rng.uniform(0.02, 0.05) * field(rng, 3))
  gamma = np.exp(rng.normal(0, 0.04))
  seen = rng.uniform(0.65, 1.25) * shading * np.maximum(signal, 0) ** gamma
  level = np.exp(rng.uniform(np.log(0.012), np.log(0.09)))
  # Coarser than the pixels: scanners interpolate what they acquired.
  real, imaginary = level * field(rng, 56), level * field(rng, 56)
  return np.hypot(seen + real, imaginary)


def digitize(seen: Map) -> np.ndarray:
  """uint8 [h w]; intensities above 1 are cut off."""
  return np.rint(255 * np.clip(seen, 0, 1)).astype(np.uint8)


def field(rng: np.random.Generator, knots: int) -> Map:
  """A smooth random field of about zero mean and unit spread.

  Args:
    rng: where the draws come from.
    knots: random values along each axis; more of them, finer detail.
  """
  place, weight = _spline(knots)
  values = rng.standard_normal((knots, knots), np.float32)
  # Four taps an axis: no matrix product, hence no threads inside a worker.
  rows = sum(weight[i] * values[place[i]] for i in range(4))
  columns = rows.T
  return sum(weight[i] * columns[place[i]] for i in range(4)).T


def step(distance: Map, width: float) -> Map:
  """0 to 1 as a distance grows through zero, smooth over about `width`."""
  t = np.clip(distance / width + 0.5, 0, 1)
  return t * t * (3 - 2 * t)


def ellipse(x: Map, y: Map, cx, cy, rx, ry, angle: float = 0.0) -> Map:
  """Distance inside an ellipse's edge, approximately; negative outside."""
  c, s = np.cos(angle), np.sin(angle)
  u, v = c * (x - cx) + s * (y - cy), -s * (x - cx) + c * (y - cy)
  return (1 - np.sqrt((u / rx) ** 2 + (v / ry) ** 2)) * min(rx, ry)


def paint(signal: Map, value, cover: Map) -> Map:
  """Blends a value over a signal."""
  return signal + cover * (value - signal)


def grid() -> tuple[Map, Map]:
  """Coordinates x, y of the pixels' centers."""
  line = ((np.arange(SIZE) + 0.5) * 2 / SIZE - 1).astype(np.float32)
  x, y = np.meshgrid(line, line)
  return x, y


@functools.cache
def _spline(knots: int) -> tuple[np.ndarray, np.ndarray]:
  """Taps [4, SIZE] and weights [4, SIZE, 1] of cubic B-splines.

  The weights are scaled to keep the spread of independent knots.
  """
  place = np.linspace(0, knots - 1, SIZE)
  taps = np.floor(place).astype(int) + np.arange(-1, 3)[:, None]
  t = np.abs(place - taps)
  near = 2 / 3 - t**2 + t**3 / 2
  far = np.clip(2 - t, 0, None) ** 3 / 6
  weights = np.where(t < 1, near, far)
  weights /= np.sqrt((weights**2).sum(0))
  taps = np.clip(taps, 0, knots - 1)
  return taps, weights[..., None].astype(np.float32)


def frame(rng: np.random.Generator) -> tuple[Map, Map]:
  """Coordinates of a body that lies a little turned, shifted and bent."""
  x, y = grid()
  # Little: the scans count as registered. What is pasted from another scan
  # (the refinement net's training) then differs by its gain, as lesions do,
  # and a small autoencoder need not spend its code on poses.
  turn = rng.normal(0, np.radians(0.8))
  c, s = np.cos(turn), np.sin(turn)
  x, y = x - rng.normal(0, 0.005), y - rng.normal(0, 0.005)
  bend = rng.uniform(0.003, 0.007)
  u = c * x + s * y + bend * field(rng, 5)
  v = -s * x + c * y + bend * field(rng, 5)
  return u, v


@functools.cache
def _common_folds() -> Map:
  """The large folds, which all heads have in much the same place."""
  return field(np.random.default_rng(7), 20)


def _cortex(rng, depth: Map, white, gray, fluid) -> Map:
  """White matter with a folded gray ribbon and fluid in the folds."""
  folds = _common_folds() + rng.uniform(0.2, 0.9) * field(rng, 20)
  outer = step(depth - rng.uniform(0.44, 0.52), 0.30)
  ribbon = np.exp(-((folds / 0.55) ** 2)) * outer
  rim = step(depth - 0.73, 0.07)
  signal = paint(white + 0.012 * field(rng, 24), gray, np.maximum(ribbon, rim))
  width = rng.uniform(0.10, 0.24)  # folds widen with age
  sulci = np.exp(-((folds / width) ** 2)) * step(depth - 0.60, 0.22)
  return paint(signal, fluid, rng.uniform(0.15, 0.95) * sulci)


def _deep(rng, signal: Map, x, y, white, gray) -> Map:
  """Basal ganglia and thalami."""
  tone = gray + rng.uniform(0.0, 0.05)
  out, up = rng.normal(0.29, 0.02), rng.normal(-0.06, 0.03)
  size = np.exp(rng.normal(0, 0.12))
  for side in (-1, 1):
    jitter = rng.normal(0, 0.012, 4)
    lentiform = ellipse(
      x,
      y,
      side * out + jitter[0],
      up + jitter[1],
      0.075 * size,
      0.17 * size,
      side * 0.35,
    )
    thalamus = ellipse(
      x,
      y,
      side * 0.115 + jitter[2],
      0.13 + jitter[3],
      0.085 * size,
      0.13 * size,
      side * -0.4,
    )
    cover = np.maximum(step(lentiform, 0.04), step(thalamus, 0.04))
    signal = paint(signal, tone, 0.85 * cover)
  return signal


def _ventricles(rng, signal: Map, x, y, fluid) -> Map:
  """Front and back horns, and the third ventricle; width varies with age."""
  wide = np.exp(rng.normal(0, 0.28))
  front, back = rng.normal(-0.22, 0.03), rng.normal(0.33, 0.03)
  cover = step(ellipse(x, y, 0, 0.10, 0.018 * wide, 0.13), 0.03)
  for side in (-1, 1):
    own = wide * np.exp(rng.normal(0, 0.15))
    reach = rng.normal(1.0, 0.08)
    horns = (
      ellipse(
        x,
        y,
        side * (0.10 + 0.01 * own),
        front,
        0.042 * own,
        0.18 * reach,
        side * 0.25,
      ),
      ellipse(
        x,
        y,
        side * (0.17 + 0.02 * own),
        back,
        0.045 * own,
        0.16 * reach,
        side * -0.45,
      ),
    )
    cover = np.maximum.reduce([cover, *(step(h, 0.035) for h in horns)])
  return paint(signal, fluid, cover)


def _midline(rng, signal: Map, x, y, depth, fluid) -> Map:
  """The fissure between the hemispheres."""
  sway = 0.012 * np.sin(rng.uniform(2, 4) * y + rng.uniform(0, 6))
  thin = rng.uniform(0.010, 0.020)
  line = np.exp(-(((x - sway) / thin) ** 2)) * step(np.abs(y) - 0.42, 0.12)
  return paint(signal, fluid, rng.uniform(0.5, 0.9) * line)


def _vessels(rng, signal: Map, x, y, depth) -> Map:
  """Bright vessels cut across: what small enhancing lesions look like."""
  for _ in range(rng.poisson(4)):
    angle, far = rng.uniform(0, 2 * np.pi), rng.uniform(0.2, 0.62)
    size = rng.uniform(0.012, 0.028)
    spot = ellipse(
      x,
      y,
      far * np.cos(angle),
      far * np.sin(angle) * 1.2,
      size,
      size * rng.uniform(1, 2.2),
      rng.uniform(0, np.pi),
    )
    signal = paint(signal, rng.uniform(0.72, 0.90), step(spot, 0.025))
  return signal


def _skull(rng, signal: Map, depth, brain, fluid) -> Map:
  """Fluid around the brain, dark bone with marrow, bright skin, air."""
  around = paint(np.full_like(signal, fluid), signal, brain)
  bone = step(depth - 0.86, 0.03)
  marrow = np.exp(-(((depth - 0.895) / 0.014) ** 2)) * rng.uniform(0.1, 0.5)
  fat = rng.normal(0.46, 0.02) + rng.uniform(0, 0.16) * field(rng, 26)
  skin = step(depth - rng.normal(0.935, 0.004), 0.025)
  air = step(depth - 1.0, 0.03)
  around = paint(around, 0.05 + marrow, bone)
  return paint(paint(around, fat, skin), 0.0, air)
