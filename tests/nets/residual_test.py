"""DPA's and PIAD's nets against known answers of the official modules."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from medad_jax import types
from medad_jax.methods import _growth, _perceptual, dpa
from medad_jax.nets import perceptual, residual
from tests.golden import synthetic_vgg
from tests.golden.cases import close

IMAGE = 1000  # the stream of images


def filled(net, order, first, *inputs):
  """Parameters in the order that PyTorch has them, from streams `first` on."""
  shapes = jax.eval_shape(net.init, jax.random.key(0), *inputs)["params"]
  assert shapes.keys() == set(order)
  stream = iter(range(first, first + 1000))

  def fill(tree):
    if "kernel" not in tree:
      return {name: fill(tree[name]) for name in tree}  # conv_0, conv_1, skip
    side, _, i, o = tree["kernel"].shape
    drawn = uniform(next(stream), (o, i, side, side))
    kernel = np.sqrt(3 / (i * side**2)) * drawn
    bias = 0.1 * uniform(next(stream), (o,))
    arrays = {"kernel": kernel.transpose(2, 3, 1, 0), "bias": bias}
    return {name: jnp.asarray(x, jnp.float32) for name, x in arrays.items()}

  return {name: fill(shapes[name]) for name in order}


def uniform(stream, shape):
  """Numbers in [-1, 1)."""
  size = int(np.prod(shape))
  return 2 * synthetic_vgg.dpa(stream, size).reshape(shape) - 1


def images(shape, stream=IMAGE):
  return jnp.asarray(synthetic_vgg.images(synthetic_vgg.dpa, shape, stream))


def levels(way, sides, depth):
  return [
    name
    for side in sides
    for name in (
      f"{way}_{side}",
      *(f"{way}_{side}_{i}" for i in range(depth - 1)),
    )
  ]


def first_layers(side, depth):
  return [f"preprocess_{side}"] + [
    f"preprocess_{side}_{i}" for i in range(depth)
  ]


def autoencoder(channels, latent, latent_side, depth, image, alpha=None):
  """The net, and its parameters."""
  net = residual.Autoencoder(
    channels, channels[::-1], latent, latent_side, depth
  )
  side, inner = image.shape[1], max(latent_side, 4)
  sides = [2**k for k in range(20) if inner < 2**k <= side]
  if alpha is None:
    first, last = first_layers(side, depth), [f"postprocess_{side}"]
    up = levels("up", sides, depth)
  else:
    first = first_layers(side // 2, depth) + first_layers(side, depth)
    up = levels("up", sides[:-1], depth) + [f"postprocess_{side // 2}"]
    up += levels("up", sides[-1:], depth)
    last = [f"postprocess_{side}"]
  down = levels("down", sides[::-1], depth)
  code = [f"code_{inner}"]
  inputs = (image,) if alpha is None else (image, alpha)
  encoder = filled(net.encoder(), first + down + code, 1, *inputs)
  given = jnp.zeros((1, latent_side, latent_side, latent))
  decoder = filled(
    net.decoder(image.shape[1:]), code + up + last, 500, given, *inputs[1:]
  )
  return net, {"encoder": encoder, "decoder": decoder}


@pytest.mark.parametrize(
  ("net", "shape", "code", "moments", "pixels", "of_image"),
  [
    pytest.param(
      ((8,) * 4, 8, 1, 2),
      (4, 3, 32, 32),
      (-0.3270977, 0.08986991, -0.06116035),
      (0.01244437, 0.1743339),
      (0.1340478, -0.05609032),
      (0.0695445, 0.163865),
      id="A",
    ),
    pytest.param(
      ((16,) * 5, 16, 1, 2),
      (4, 1, 64, 64),
      (0.2290065, -0.2652533, 0.1951575),
      (-0.03864503, 0.2921244),
      (0.1827598, 0.5772245),
      (0.399748, 0.1022989),
      id="B",
    ),
    pytest.param(
      ((4,) * 4, 4, 8, 2),
      (4, 3, 64, 64),
      (-0.119645, 0.6711081, 0.2409678),
      (0.3632345, 0.496133),
      (-0.5139162, -0.1922495),
      (1.284777, 2.589275),
      id="C",
    ),
    pytest.param(
      ((64, 128, 256, 256), 256, 1, 1),
      (4, 3, 32, 32),
      (-0.4030331, 0.09271747, -0.09218471),
      (0.0220358, 0.2616789),
      (-0.1030358, 0.126369),
      (0.005476375, 0.1126953),
      id="E",
    ),
  ],
)
def test_forward(net, shape, code, moments, pixels, of_image):
  image = images(shape)
  net, params = autoencoder(*net, image)
  check_forward(
    jax.jit(net.apply)({"params": params}, image),
    *(code, moments, pixels, of_image),
  )


def check_forward(out, code, moments, pixels, of_image):
  z, y = out["latent"], out["x_hat"]
  close(z[0, 0, 0, :3], code, rtol=1e-4)
  close((np.mean(z), np.std(z)), moments, rtol=1e-4)
  close((y[0, 0, 0, 0], y[1, 17, 5, -1]), pixels, rtol=1e-4)
  close((np.mean(y), np.std(y)), of_image, rtol=1e-4)


def test_a_net_that_grows_and_its_smooth_loss():
  alpha = jnp.float32(0.3)
  channels = (32, 32, 64, 64, 64)
  net, params = autoencoder(channels, 64, 1, 2, images((4, 1, 32, 32)), alpha)
  apply = jax.jit(net.apply)
  out = apply({"params": params}, images((4, 1, 32, 32)), alpha)
  check_forward(
    out,
    (-0.2963195, 0.08136529, -0.03204499),
    (-0.002833977, 0.2329494),
    (-0.02878762, 0.01764298),
    (-0.01303531, 0.03992846),
  )
  full = images((4, 1, 64, 64))
  small = _growth.Stage("stab8", 8).image(full, None)
  close(
    (small[0, 0, 0, 0], small[1, 7, 5, 0]), (0.2600564, -0.2689741), rtol=1e-4
  )
  stage = _growth.Stage("trns32", 32, 1)
  blended = stage.image(full, alpha)
  close(
    (np.mean(blended), np.std(blended)), (-0.003025163, 0.2343345), rtol=1e-4
  )
  method = dpa.Method(
    layers=("relu4_2",),
    growth=_growth.Growth((16, 32, 64), ("relu2_2", "relu3_2")),
  )
  net_of_vgg = synthetic_vgg.variables(synthetic_vgg.dpa, 2**0.5)["params"]
  known = {
    name: dict(perceptual.statistics(name)) for name in perceptual.LAYERS
  }
  state = types.TrainState(
    0, {"vgg19": net_of_vgg, "statistics": known}, {}, {}, None
  )
  state = jax.tree.map(jnp.asarray, state)
  x_hat = apply({"params": params}, blended, alpha)["x_hat"]
  loss = method._distance(stage, alpha, state, blended, x_hat)
  close(np.mean(loss), 0.3633195, rtol=1e-4)


def test_a_critics_loss():
  net = residual.Encoder((16,) * 5, 1)
  real, fake = (images((4, 1, 64, 64), stream) for stream in (IMAGE, 2000))
  order = first_layers(64, 2) + levels("down", (64, 32, 16, 8), 2) + ["code_4"]
  params = filled(net, order, 7000, real)

  def judge(image):
    return net.apply({"params": params}, image)[:, 0, 0, 0]

  close(judge(real), (0.05516608, 0.06207285, 0.05944055, 0.1064717), rtol=1e-4)
  share = jnp.asarray(synthetic_vgg.dpa(3000, 4), jnp.float32)
  loss, parts = _perceptual.criticize(judge, real, fake, share)
  names = ("wasserstein", "drift", "penalty")
  found = [parts[name] for name in names]
  close(found, (-0.01269349, 9.03519e-6, 8.787440), rtol=1e-4)
  close(loss, 8.774756, rtol=1e-4)
