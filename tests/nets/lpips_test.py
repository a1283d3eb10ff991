"""LPIPS against numbers of the official package, with made-up weights.

Convolution weights are those of `filler.named` times 1.4, heads their absolute
values; the published heads are not stored here.
"""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from medad_jax.nets import lpips
from medad_jax.types import UserError
from medad_jax.weights import conversion, lpips_names
from tests.golden import cases, filler

TABLES = {"squeeze": lpips_names.squeezenet, "alex": lpips_names.alexnet}


def unit(case, shape):
  """Images in [0, 1], (b, h, w, c)."""
  return (cases.channels_last(filler.named_images(case, shape)) + 1) / 2


def parameters(name: lpips.Name):
  """The made-up trunk and heads of a net."""
  trunk, heads = lpips.PARTS[name]
  case = {"squeeze": "squeezenet1_1", "alex": "alexnet"}[name]
  shapes = jax.eval_shape(lambda: lpips.init(name, jax.random.key(0)))
  table = TABLES[name]()
  entries = conversion.entries(table, {"params": shapes[trunk]})
  state = filler.named(case, {k: e.shape for k, e in entries.items()})
  state = {k: 1.4 * v if v.ndim == 4 else v for k, v in state.items()}
  sizes = enumerate(lpips.CHANNELS[name])
  linear = filler.named(
    case, {f"lin{i}.weight": (1, size, 1, 1) for i, size in sizes}
  )
  return {
    trunk: conversion.to_flax(table, state)["params"],
    heads: {
      key.removesuffix(".weight"): {"kernel": np.abs(value).reshape(-1, 1)}
      for key, value in linear.items()
    },
  }


def pair_of_map():
  """Images and reconstructions of the case `ra_map`."""
  stored = cases.load("ra_map")
  x = unit("ra_map", (2, 1, 128, 128))
  mixing = float(stored["mixing"])
  r = mixing * x + (1 - mixing) * unit("ra_map_rec", (2, 1, 128, 128))
  y0, x0, a = map(float, stored["blob"])
  rows, columns = np.mgrid[:128, :128]
  blob = a * np.exp(-((rows - y0) ** 2 + (columns - x0) ** 2) / 60)
  blob = jnp.asarray(blob, jnp.float32)[None, :, :, None]
  return jnp.clip(x + blob, 0, 1), r


def test_maps_of_the_reference():
  x, r = pair_of_map()
  stored = cases.load("ra_map")
  with jax.enable_x64(False):
    found = jax.jit(functools.partial(lpips.distance_map, "squeeze"))(
      parameters("squeeze"), 2 * x - 1, 2 * r - 1
    )
  np.testing.assert_allclose(found[0], stored["lpips"][0], atol=4e-7)
  np.testing.assert_allclose(
    found.mean((1, 2)), stored["lpips_mean"], rtol=2e-6
  )
  np.testing.assert_allclose(found.max((1, 2)), stored["lpips_max"], rtol=3e-6)


def test_distances_of_the_reference():
  stored = cases.load("ra_eval")
  params = parameters("alex")
  distance = jax.jit(functools.partial(lpips.distance, "alex"))
  for name, (count, _) in stored["sets"].items():
    x = unit(f"ra_eval/{name}", (count, 1, 128, 128))
    r = 0.85 * x + 0.15 * unit(
      f"ra_eval/{name}_rec", x.shape[:1] + (1, 128, 128)
    )
    # As the reference's evaluator: without the step to [-1, 1].
    found = distance(params, x, r)
    wanted = stored[f"lpips_alex/{name}"]
    np.testing.assert_allclose(found, wanted, rtol=2e-5, atol=3e-9)


def shown(side, seed=0):
  rng = np.random.RandomState(seed)
  return jnp.asarray(rng.uniform(-1, 1, (2, side, side, 3)), jnp.float32)


@pytest.mark.parametrize("name", lpips.PARTS)
def test_the_distance_of_an_image_to_itself_is_zero(name):
  params, x = lpips.init(name, jax.random.key(0)), shown(32)
  both = (x, shown(32, seed=1))
  apart = jax.jit(functools.partial(lpips.distance, name))(params, *both)
  assert apart.shape == (2,) and (apart > 0.01).all()
  same = jax.jit(functools.partial(lpips.distance_map, name))(params, x, x)
  np.testing.assert_array_equal(same, np.zeros((2, 32, 32)))


def test_gray_is_rgb_of_equal_channels():
  params = lpips.init("alex", jax.random.key(0))
  x, y = shown(32)[..., :1], shown(32, seed=1)[..., :1]
  distance = jax.jit(functools.partial(lpips.distance, "alex"))
  three = distance(params, *(jnp.repeat(image, 3, -1) for image in (x, y)))
  np.testing.assert_array_equal(distance(params, x, y), three)


def test_small_images_are_refused():
  with pytest.raises(UserError, match="16x16 are too small.*32 or more"):
    lpips.features("alex", {}, jnp.zeros((1, 16, 16, 1)))


@pytest.mark.parametrize("name", ["squeeze", "vgg"])
def test_pytorch_gives_the_same_features(name):
  """Torchvision's layers, of sides that poolings do not divide."""
  torch = pytest.importorskip("torch")
  nn, side = torch.nn, 45
  params, image = lpips.init(name, jax.random.key(0)), shown(side)
  trunk, _ = lpips.PARTS[name]
  table = {"squeeze": lpips_names.squeezenet, "vgg": lpips_names.vgg16}[name]()
  state = conversion.to_torch(table, {"params": params[trunk]})
  x = (np.asarray(image) - lpips._SHIFT) / lpips._SCALE
  x = torch.tensor(x.transpose(0, 3, 1, 2), dtype=torch.float32)

  def conv(x, layer, stride=1, padding=0):
    weight, bias = (
      torch.tensor(np.array(state[f"features.{layer}.{k}"]))
      for k in ("weight", "bias")
    )
    return nn.functional.relu(
      nn.functional.conv2d(x, weight, bias, stride, padding)
    )

  out = []
  if name == "vgg":
    places = ((0, 2), (5, 7), (10, 12, 14), (17, 19, 21), (24, 26, 28))
    for block in places:
      x = nn.functional.max_pool2d(x, 2) if block[0] else x
      for place in block:
        x = conv(x, place, padding=1)
      out.append(x)
  else:
    x = conv(x, 0, stride=2)
    out.append(x)
    for place in (3, 4, 6, 7, 9, 10, 11, 12):
      if place in (3, 6, 9):
        x = nn.functional.max_pool2d(x, 3, 2, ceil_mode=True)
      x = conv(x, f"{place}.squeeze")
      x = torch.cat(
        [
          conv(x, f"{place}.expand1x1"),
          conv(x, f"{place}.expand3x3", padding=1),
        ],
        1,
      )
      if place not in (3, 6):
        out.append(x)
  found = lpips.features(name, params, image)
  for ours, theirs in zip(found, out, strict=True):
    theirs = nn.functional.normalize(theirs, eps=1e-12).numpy()
    np.testing.assert_allclose(cases.channels_first(ours), theirs, atol=3e-6)
