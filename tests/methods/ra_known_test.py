"""RA against printed numbers of the reference, with weights from a hash.

Expected numbers are those of float64 runs of the reference's modules, and of
its map in float32; scikit-image and the package lpips made the latter.
"""

import functools
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from medad_jax import types
from medad_jax.methods import ra
from medad_jax.nets import introspective, lpips, ops
from medad_jax.scoring import clahe, smoothing
from medad_jax.training import Optimizer
from medad_jax.weights import conversion, lpips_names, names
from tests.golden import cases, filler
from tests.golden.cases import close
from tests.methods import stepping

# Columns: embedding, error, divergence, near_rec, near_fake, encoder_loss,
# divergence_rec, divergence_fake, error_rec, error_fake, decoder_loss.
STEPS = [
  [0.333955169, 1165.59222, 13.6751702, 0.795005881, 0.788925298, 0.434058289]
  + [69.8251701, 71.4012447, 344.89256, 164.814241, 0.03988094],
  [0.429357811, 1626.8236, 68.566252, 0.530514938, 0.482629571, 0.309264585]
  + [142.950064, 169.13654, 317.902067, 284.045365, 0.0591708439],
  [0.32376832, 1441.7852, 274.973393, 0.00110735944, 0.004683814, 0.0638494715]
  + [1434.77771, 982.569131, 1082.22877, 731.195794, 0.117771364],
]
COLUMNS = (
  *("embedding", "error", "divergence", "near_rec", "near_fake"),
  *("encoder_loss", "divergence_rec", "divergence_fake"),
  *("error_rec", "error_fake", "decoder_loss"),
)
NORMS = {"encoder": 1.93361788, "decoder": 0.289009886}


def entry(shapes, key, t):
  shape = shapes[key]
  layer, kind = key.rsplit(".", 1)
  u = filler.uniform(t, math.prod(shape)).reshape(shape)
  if kind in ("running_mean", "running_var"):
    fixed = 0.9 if key.startswith("encoder") else 1.0
    return np.full(shape, fixed if kind == "running_var" else 0.0)
  weight = shapes[f"{layer}.weight"]
  if len(weight) == 1:
    return 0.5 + u if kind == "weight" else 0.4 * u - 0.2
  fan_in = math.prod(weight[1:])
  bound = math.sqrt(3 / fan_in) if kind == "weight" else fan_in**-0.5
  return (2 * u - 1) * bound


@functools.cache
def variables():
  shapes = cases.load("ra_net")["shapes"]
  keys = [key for key in shapes if not key.endswith("num_batches_tracked")]
  state = {key: entry(shapes, key, t) for t, key in enumerate(keys)}
  found = conversion.to_flax(names.introspective(), state)
  return found["params"], found["batch_stats"]


def image():
  rows = 0.1 * np.arange(128)[:, None] + 0.5 * np.arange(2)[:, None, None]
  columns = 0.15 * np.arange(128)
  return (0.5 + 0.5 * np.sin(rows) * np.cos(columns))[..., None]


def noise(k):
  i = np.arange(256)
  return math.sqrt(2) * np.sin(0.37 * i + 1.3 * k + 0.2).reshape(2, 128)


def cast(tree, kind):
  return jax.tree.map(lambda x: jnp.asarray(x, kind), tree)


@jax.jit
def see(params, extra, image, noise):
  method = ra.Method()
  nets = ra._Nets(method, params, extra, image.shape, types.Axis(), train=False)
  (code,) = nets.encode(image)
  z = introspective.sampled(code, noise)
  return code, z, nets.decode(code[0], z)


def test_the_net():
  with ops.own_forms(False):
    code, z, (y, sampled) = see(
      *cast((*variables(), image(), noise(0)), "float32")
    )
  mean, log_var, embeddings = code
  close(mean[0, :3], [0.117405926, -0.301603438, -0.353504445], rtol=2e-5)
  close(mean.mean(), -0.0255990139, rtol=2e-5)
  close(mean.std(), 0.337144119, rtol=2e-6)
  close(log_var[0, :3], [0.391358599, 0.339812202, 0.494015294], rtol=2e-5)
  means = [0.0526454269, 0.145069839, 0.175801036, 0.155985973, 0.158604356]
  close([e.mean() for e in embeddings], means, rtol=2e-6)
  spreads = [0.285834139, 0.294390114, 0.309623467, 0.315741042, 0.296410732]
  close([e.std() for e in embeddings], spreads, rtol=2e-6)
  close(y.mean(), 0.545889021, rtol=1e-6)
  close(y.std(), 0.0382419579, rtol=1e-5)
  found = [y[0, 0, 0, 0], y[1, 64, 37, 0]]
  close(found, [0.54720208, 0.537720103], rtol=2e-6)
  close(z[0, :3], [0.459092777, 0.602882907, 1.1085476], rtol=5e-6)
  close(sampled.mean(), 0.512487581, rtol=2e-6)


class WithNoise(ra.Method):
  def noise(self, batch, context):
    return batch["noise"][context.step]


@pytest.mark.slow
@pytest.mark.parametrize(
  ("kind", "rtol"),
  [("float64", (2e-8, 2e-8, 1e-6)), ("float32", (1e-5, 6e-5, 6e-3))],
)
def test_three_steps(kind, rtol):
  draws = np.reshape([noise(k) for k in range(18)], (3, 6, 2, 128))
  method = WithNoise(optimizer=Optimizer(learning_rate=5e-5))
  with jax.enable_x64(kind == "float64"), ops.own_forms(False):
    params, extra, x, draws = cast((*variables(), image(), draws), kind)
    stepper = stepping.Stepper(method.phases()[-1], kind == "float64")
    batch = {**cases.batch_of(2 * x - 1), "noise": draws}
    done = stepper.descend(params, extra, batch, 3)
    # Outside of x64, JAX would refuse float64.
    _, _, (y, _) = see(done.params, done.extra, x, draws[0, 0])
    close(y.mean(), 0.35455874, rtol=rtol[2])
    close(y.std(), 0.102551249, rtol=rtol[2])
    close(np.mean((y - x) ** 2), 0.0826744912, rtol=rtol[2])
  for row, wanted, tolerance in zip(done.metrics, STEPS, rtol, strict=True):
    close([row[name] for name in COLUMNS], wanted, rtol=tolerance)
  for part, wanted in NORMS.items():
    grads = jax.tree.leaves(jax.device_get(done.grads[part]))
    squares = [np.sum(np.square(g)) for g in grads]
    close(np.sqrt(np.sum(squares)), wanted, rtol=rtol[0])


def pair():
  rows, columns = np.mgrid[:128, :128]
  blob = np.exp(-((rows - 40) ** 2 + (columns - 80) ** 2) / 50)
  x = 0.5 + 0.5 * np.sin(0.1 * rows) * np.cos(0.15 * columns) + 0.3 * blob
  r = 0.5 + 0.45 * np.sin(0.1 * rows + 0.1) * np.cos(0.15 * columns + 0.2)
  return cast(
    (np.clip(x, 0, 1)[None, ..., None], r[None, ..., None]), "float32"
  )


def squeeze():
  """A trunk from the hash, and the published heads."""
  shapes = jax.eval_shape(lambda: lpips.init("squeeze", jax.random.key(0)))
  table = lpips_names.squeezenet()
  entries = conversion.entries(table, {"params": shapes["squeezenet1_1"]})
  state = {}
  # In the order of the network, each weight before its bias.
  keys = [f"{layer}.{kind}" for layer in table for kind in ("weight", "bias")]
  for t, key in enumerate(keys):
    shape = entries[key].shape
    weight = entries[f"{key.rsplit('.', 1)[0]}.weight"].shape
    fan_in = math.prod(weight[1:])
    bound = math.sqrt(6 / fan_in) if len(shape) > 1 else fan_in**-0.5
    u = filler.uniform(t, math.prod(shape)).reshape(shape)
    state[key] = ((2 * u - 1) * bound).astype(np.float32)
  heads = cases.load("lpips_squeeze")
  return {
    "squeezenet1_1": conversion.to_flax(table, state)["params"],
    "lpips_squeeze": {k: {"kernel": v[:, None]} for k, v in heads.items()},
  }


PIXELS = ((40, 80), (5, 7), (100, 30))
# Mean, maximum and the values at `PIXELS`.
MAPS = {
  "clahe x": [0.5241822, 1, 0.495460123, 0.568098187, 0.566993892],
  "clahe r": [0.523887396, 1, 0.118419439, 0.568045139, 0.500429511],
  "lpips": [0.0185597148, 0.296090037, 0.189423233, 0.00332951313, 0.020062115],
  "smooth": [0.0185597148, 0.243168175, 0.160991162, 0.0120481495]
  + [0.0233320426],
  "lpips clahe": [0.0194612574, 0.296725273, 0.187432289, 0.00821149535]
  + [0.0204787552],
  "anomaly": [0.000100287049, 0.0195629783, 0.00996601488, 1.0393e-08]
  + [6.8991e-05],
}


def test_the_map():
  x, r = pair()
  nets = squeeze()
  both = (clahe.equalize(image[..., 0]) for image in (x, r))
  equal, equal_hat = (image[..., None] for image in both)
  distance = jax.jit(functools.partial(lpips.distance_map, "squeeze"))
  found = {
    "clahe x": equal[0, ..., 0],
    "clahe r": equal_hat[0, ..., 0],
    "lpips": distance(nets, 2 * x - 1, 2 * r - 1)[0],
    "lpips clahe": distance(nets, 2 * equal - 1, 2 * equal_hat - 1)[0],
  }
  found["smooth"] = smoothing.gaussian(found["lpips"], 2.0)
  method = ra.Method(weights="random")
  found["anomaly"] = jax.jit(method.anomaly_map)(nets, x, r[:, None])[0, 0]
  for name, wanted in MAPS.items():
    got = found[name]
    numbers = [got.mean(), got.max(), *(got[pixel] for pixel in PIXELS)]
    close(numbers, wanted, rtol=2e-5, atol=3e-9, err_msg=name)
  assert (found["anomaly"] > 0.009).sum() == 45
