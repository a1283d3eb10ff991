"""Lesions of generated slices, each with its exact mask.

A lesion replaces signal inside its mask and nowhere else, before the
acquisition. Their looks stay close to what healthy slices have anyway: cysts
are as dark as ventricles, deposits as bright as vessels, and the most frequent
kinds, broad changes of brightness, are within what other scanners' gain does.
So the error of a plain autoencoder, to which noise and folds of healthy slices
contribute as much, does not find them reliably.
"""

from collections.abc import Callable

import numpy as np

from medad_jax.data.phantom import anatomy
from medad_jax.data.phantom.anatomy import Head, Map

_FAINT = 0.15  # a smaller share of lesion is invisible, and counts as none

Rng = np.random.Generator


def add(rng: Rng, head: Head) -> tuple[Map, np.ndarray, str]:
  """Draws a lesion of any kind into a slice.

  Args:
    rng: where the draws come from.
    head: a healthy slice, left as it is.

  Returns:
    The signal with the lesion, its mask (bool [h w]) and its kind.
  """
  kind = draw_kind(rng)
  draw = KINDS[kind][1]
  while True:
    signal, cover = draw(rng, head)
    mask = cover > 0
    if mask.sum() >= 40:  # pixels; a draw may fall outside the brain
      return np.where(mask, signal, head.signal), mask, kind


def draw_kind(rng: Rng) -> str:
  """One of `KINDS` by their shares: the first draw of `add`."""
  shares = [share for share, _ in KINDS.values()]
  return str(rng.choice(list(KINDS), p=shares))


def _infiltration(rng: Rng, head: Head) -> tuple[Map, Map]:
  """A low-grade mass: darker, washing out what lies under it."""
  cover = _blob(rng, head, (0.28, 0.46), edge=0.20, rough=0.30)
  tone = head.white * rng.uniform(0.52, 0.68)
  return anatomy.paint(head.signal, tone, rng.uniform(0.6, 0.9) * cover), cover


def _hyperintensity(rng: Rng, head: Head) -> tuple[Map, Map]:
  """A patch of brighter white matter with a diffuse edge."""
  cover = _blob(rng, head, (0.28, 0.44), edge=0.22, rough=0.25)
  gain = 1 + rng.uniform(0.20, 0.36) * cover
  return head.signal * gain, cover


def _cyst(rng: Rng, head: Head) -> tuple[Map, Map]:
  """A sharp, dark cavity, like a ventricle in the wrong place."""
  cover = _blob(rng, head, (0.12, 0.24), edge=0.05, rough=0.10)
  return anatomy.paint(head.signal, head.fluid, cover), cover


def _mass(rng: Rng, head: Head) -> tuple[Map, Map]:
  """An enhancing solid mass near the surface, with a faint dark border."""
  border = _blob(rng, head, (0.22, 0.36), edge=0.10, rough=0.10, outer=True)
  core = anatomy.step(border - 0.62, 0.3)
  signal = anatomy.paint(head.signal, head.white * 0.8, 0.6 * border)
  tone = head.white * rng.uniform(1.10, 1.28)
  return anatomy.paint(signal, tone, core), border


def _ring(rng: Rng, head: Head) -> tuple[Map, Map]:
  """A high-grade mass: swelling, a bright rim and a dead core."""
  cover = _blob(rng, head, (0.24, 0.42), edge=0.30, rough=0.22)
  signal = anatomy.paint(head.signal, head.white * 0.62, 0.9 * cover)
  rim = np.exp(-(((cover - 0.72) / 0.13) ** 2))
  signal = anatomy.paint(signal, head.white * rng.uniform(1.1, 1.4), rim)
  core = anatomy.step(cover - 0.9, 0.15)
  return anatomy.paint(signal, head.fluid * rng.uniform(1, 2.2), core), cover


def _scattered(rng: Rng, head: Head) -> tuple[Map, Map]:
  """Several small bright deposits, like vessels but more and larger."""
  covers = [
    _blob(rng, head, (0.06, 0.13), edge=0.06, rough=0.05)
    for _ in range(rng.integers(3, 8))
  ]
  cover = np.maximum.reduce(covers)
  tone = head.white * rng.uniform(1.2, 1.45)
  return anatomy.paint(head.signal, tone, cover), cover


# Share of all lesions, and how one is drawn.
KINDS: dict[str, tuple[float, Callable[[Rng, Head], tuple[Map, Map]]]] = {
  "infiltration": (0.25, _infiltration),
  "hyperintensity": (0.25, _hyperintensity),
  "cyst": (0.12, _cyst),
  "mass": (0.15, _mass),
  "ring": (0.15, _ring),
  "scattered": (0.08, _scattered),
}


def _blob(
  rng: Rng,
  head: Head,
  radius: tuple[float, float],
  edge: float,
  rough: float,
  outer: bool = False,
) -> Map:
  """The share of a lesion in every pixel, 0 outside a sharp support.

  Args:
    rng: where the draws come from.
    head: the slice; a blob does not leave its brain.
    radius: bounds of the mean radius; the head is about 1.7 high.
    edge: width of the soft edge.
    rough: how far the outline leaves an ellipse.
    outer: whether it lies near the surface.
  """
  cx, cy = _centre(rng, head, (0.55, 0.75) if outer else (0.1, 0.66))
  x, y = anatomy.grid()
  mean, aspect = rng.uniform(*radius), np.exp(rng.normal(0, 0.18))
  distance = anatomy.ellipse(
    x, y, cx, cy, mean * aspect, mean / aspect, rng.uniform(0, np.pi)
  )
  distance = distance + rough * mean * 0.5 * anatomy.field(rng, 9)
  cover = anatomy.step(distance - edge / 4, edge) * (head.brain > 0.5)
  return np.where(cover > _FAINT, cover, 0)


def _centre(
  rng: Rng, head: Head, depths: tuple[float, float]
) -> tuple[float, float]:
  allowed = (head.depth > depths[0]) & (head.depth < depths[1])
  x, y = anatomy.grid()
  at = rng.choice(np.flatnonzero(allowed & (head.brain > 0.9)))
  return float(x.flat[at]), float(y.flat[at])
