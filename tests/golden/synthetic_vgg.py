"""VGG19 up to relu4_2 with made-up weights, as two references were run with.

In our layout: (b, h, w, c) images and (h, w, i, o) kernels.
"""

from collections.abc import Callable
import pathlib

import numpy as np

from medad_jax.nets import vgg
from tests.golden import filler

# (stream, size) -> numbers in [0, 1)
Uniform = Callable[[int, int], np.ndarray]


def variables(uniform: Uniform, gain: float) -> dict:
  """Flax variables: kernels uniform of variance gain^2 / fan in."""
  names = [n for n in vgg.LAYERS[: vgg.LAYERS.index("relu4_2")] if n[0] == "c"]
  params, channels = {}, 3
  for i, name in enumerate(names):
    shape = (vgg.CHANNELS[name], channels, 3, 3)
    u = uniform(5000 + 2 * i, int(np.prod(shape))).reshape(shape)
    kernel = (2 * u - 1) * np.sqrt(3 / (9 * channels)) * gain
    bias = 0.1 * (2 * uniform(5001 + 2 * i, shape[0]) - 1)
    params[name] = {
      "kernel": kernel.transpose(2, 3, 1, 0).astype(np.float32),
      "bias": bias.astype(np.float32),
    }
    channels = shape[0]
  return {"params": params}


def images(uniform: Uniform, shape: tuple[int, ...], t: int = 1000):
  """Noise in [-1, 1] of `shape` (b, c, h, w), as (b, h, w, c) float32."""
  x = 2 * uniform(t, int(np.prod(shape))).reshape(shape) - 1
  return x.transpose(0, 2, 3, 1).astype(np.float32)


def statistics() -> tuple[np.ndarray, np.ndarray]:
  """Mean and scale of relu4_2's 512 channels on ImageNet, the real ones.

  Entry r42 of vgg19_ILSVRC2012_object_detection_mean_var.pt of
  ninatu/anomaly_detection (Apache-2.0), which MedIAnomaly ships too.
  """
  path = pathlib.Path(__file__).parent / "vgg19_r42.npz"
  with np.load(path) as stored:
    return stored["mean"], stored["scale"]


medianomaly = filler.counted_uniform  # the numbers of the first reference


def dpa(t: int, size: int) -> np.ndarray:
  """The numbers of the second reference, another integer hash."""
  mask = np.uint64(0xFFFFFFFF)
  x = np.arange(size, dtype=np.uint64) * np.uint64(2654435761)
  x = x + np.uint64(40503 * t + 12345) & mask
  for _ in range(2):
    x ^= x >> np.uint64(16)
    x = x * np.uint64(0x45D9F3B) & mask
  x ^= x >> np.uint64(16)
  return x / 2.0**32
