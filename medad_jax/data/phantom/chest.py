"""Healthy generated slices of a chest: an axial, CT-like view.

Lungs, heart, vessels, spine and ribs in a wall of muscle and fat. Lesions grow
in the lungs. Conventions are those of `anatomy`.
"""

import numpy as np

from medad_jax.data.phantom import anatomy
from medad_jax.data.phantom.anatomy import Head, Map


def chest(rng: np.random.Generator) -> Head:
  """Draws a healthy slice; its `brain` are the lungs."""
  x, y = anatomy.frame(rng)
  wall = np.hypot(x / rng.normal(0.94, 0.012), y / rng.normal(0.72, 0.012))
  tissue = rng.normal(0.60, 0.012)
  air = rng.uniform(0.10, 0.16)
  signal = _wall(rng, wall, tissue)
  lungs, depth = _lungs(rng, x, y)
  signal = anatomy.paint(signal, air + 0.02 * anatomy.field(rng, 24), lungs)
  signal = _branches(rng, signal, lungs, x, y, tissue)
  tone, heart = _heart(rng, x, y, tissue)
  signal, lungs = anatomy.paint(signal, tone, heart), lungs * (1 - heart)
  signal = _bones(rng, signal, wall, x, y)
  outside = anatomy.step(wall - 1.0, 0.03)
  signal = anatomy.paint(signal, 0.0, outside)
  return Head(signal, lungs, depth, tissue, air / 2)


def _wall(rng, wall: Map, tissue) -> Map:
  """Muscle within a layer of fat."""
  fat = rng.normal(0.36, 0.02) + rng.uniform(0, 0.05) * anatomy.field(rng, 26)
  layer = anatomy.step(wall - rng.uniform(0.86, 0.93), 0.03)
  muscle = tissue + 0.02 * anatomy.field(rng, 24)
  return anatomy.paint(muscle, fat, layer)


def _lungs(rng, x: Map, y: Map) -> tuple[Map, Map]:
  """How far a pixel is lung, and its depth: 0 in a lung's middle, 1 outside."""
  covers, depths = [], []
  for side in (-1, 1):
    jitter = rng.normal(0, 0.012, 4)
    cx, cy = side * 0.44 + jitter[0], 0.02 + jitter[1]
    rx, ry = 0.31 + jitter[2], 0.50 + jitter[3]
    inside = anatomy.ellipse(x, y, cx, cy, rx, ry, side * 0.12)
    inside = inside + 0.01 * anatomy.field(rng, 9)
    covers.append(anatomy.step(inside, 0.03))
    # 1 at the edge, as in the head.
    depths.append(1 - inside / min(rx, ry))
  return np.maximum(*covers), np.clip(np.minimum(*depths), 0, 1)


def _branches(rng, signal: Map, lungs: Map, x, y, tissue) -> Map:
  """Vessels of the lungs, cut across and along."""
  folds = anatomy.field(rng, 26)
  lines = np.exp(-((folds / rng.uniform(0.05, 0.10)) ** 2))
  signal = anatomy.paint(signal, 0.6 * tissue, 0.5 * lines * lungs)
  for _ in range(rng.poisson(7)):
    cx = rng.choice((-1, 1)) * rng.uniform(0.22, 0.62)
    cy, size = rng.uniform(-0.3, 0.35), rng.uniform(0.012, 0.03)
    spot = anatomy.ellipse(
      x, y, cx, cy, size, size * rng.uniform(1, 2), rng.uniform(0, np.pi)
    )
    signal = anatomy.paint(signal, tissue, anatomy.step(spot, 0.02) * lungs)
  return signal


def _heart(rng, x, y, tissue) -> tuple[float, Map]:
  """Tone and cover of the heart, left of the middle, and of the aorta."""
  tone = tissue + rng.uniform(0.02, 0.12)
  size = np.exp(rng.normal(0, 0.08))
  heart = anatomy.ellipse(
    x,
    y,
    rng.normal(0.10, 0.015),
    rng.normal(-0.16, 0.02),
    0.30 * size,
    0.24 * size,
    rng.normal(0.5, 0.06),
  )
  aorta = anatomy.ellipse(x, y, rng.normal(0.08, 0.01), 0.30, 0.07, 0.07)
  cover = np.maximum(anatomy.step(heart, 0.04), anatomy.step(aorta, 0.03))
  return tone, cover


def _bones(rng, signal: Map, wall: Map, x, y) -> Map:
  """Vertebra with its canal, breastbone, and ribs cut across."""
  tone = rng.uniform(0.80, 0.92)
  body = anatomy.ellipse(x, y, 0, 0.46, 0.13, 0.10)
  front = anatomy.ellipse(x, y, 0, -0.58, 0.10, 0.035)
  cover = np.maximum(anatomy.step(body, 0.03), anatomy.step(front, 0.03))
  turns = rng.uniform(0, 2 * np.pi)
  angle = np.arctan2(y, x)
  ribs = np.exp(-(((wall - 0.82) / 0.022) ** 2))
  ribs *= anatomy.step(np.sin(9 * angle + turns) - 0.2, 0.3)
  signal = anatomy.paint(signal, tone, np.maximum(cover, 0.9 * ribs))
  canal = anatomy.ellipse(x, y, 0, 0.60, 0.05, 0.045)
  return anatomy.paint(signal, 0.5, anatomy.step(canal, 0.03))
