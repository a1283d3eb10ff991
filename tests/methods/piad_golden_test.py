"""PIAD against numbers of the official modules in PyTorch."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from medad_jax import types
from medad_jax.methods import _perceptual, piad
from medad_jax.nets import residual
from medad_jax.training import Length, Optimizer
from tests.golden import cases
from tests.golden import perceptual as golden
from tests.golden.cases import close

# Largest relative differences of the official modules in float32 from float64:
# of losses, of norms of gradients and of parameters, of outputs at the end.
ROUNDING = {
  "piad_cifar": (7e-4, 3e-4, 5e-5, 4e-4),
  "piad_nih": (6e-5, 2e-4, 9e-7, 4e-5),
  "piad_small": (9e-5, 1e-4, 6e-5, 1e-3),
}
CASES = [
  # The others are as wide as published.
  pytest.param(case, marks=() if case == "piad_small" else pytest.mark.slow)
  for case in ROUNDING
]
PARTS = ("wasserstein", "drift", "penalty")
COLUMNS = (
  *("image_adversarial", "latent_adversarial", "reconstruction"),
  *("encoder_weight", "decoder_weight"),
)


class Given(piad.Method):
  """Takes noise and places of gradient penalties from the batch."""

  def prior(self, batch, context):
    return batch["prior"]

  def share(self, batch, context, name):
    return batch[name]


def method(case):
  config = golden.load(case)["config"]
  optimizers = {
    name: Optimizer("adam", adam["lr"], *adam["betas"])
    for name, adam in config["adam"].items()
  }
  return Given(
    channels=tuple(config["enc_inner_dims"]),
    decoder_channels=tuple(config["dec_inner_dims"]),
    latent=config["latent_dim"],
    layers=tuple(golden.LAYERS[name] for name in config["layers"]),
    critic_channels=tuple(config["ddis_inner_dims"]),
    latent_critic_channels=tuple(config["edis_inner_dims"]),
    critic_batches=config["n_dis"],
    balance=piad.Balance(every=config["update_grad_norm_every"]),
    length=Length(steps=4, batch_size=4),
    optimizer=optimizers["enc_dec"],
    critic=optimizers["ddis"],
  )


def draw(case, number):
  """Images and noise of one draw."""
  config = golden.load(case)["config"]
  shape = tuple(config["draw_shape"])
  noise = golden.draw(
    f"{case}/z{number}",
    (shape[0], config["latent_dim"], 1, 1),
    "standard_normal",
  )
  image = golden.images(f"{case}_draw{number}", shape)
  return {"image": image, "prior": cases.channels_last(noise)}


def batch_of(case, iteration):
  """The three draws of an iteration, and places for the gradient penalties."""
  found = [draw(case, 3 * iteration + i) for i in range(3)]
  b = len(found[0]["image"])
  for i, one in enumerate(found):
    for j, name in enumerate(("critic", "latent_critic")):
      number = 4 * iteration + 2 * i + j
      # The third draw is the autoencoder's, which has no penalty.
      place = golden.draw(f"{case}/alpha{number}", (b, 1))[:, 0]
      one[name] = jnp.asarray(place)
  return jax.tree.map(lambda *x: jnp.stack(x), *found)


def context_of():
  own = {"features": jax.tree.map(jnp.asarray, golden.features())}
  return dataclasses.replace(cases.CONTEXT, own=own)


@functools.cache
def trained(case):
  """The state before and after training, and the metrics of each step."""
  model = method(case)
  params = jax.tree.map(jnp.asarray, golden.parameters(case))
  step = model.phases()[-1].step
  balance = model.balance.start(params["net"])
  state = types.TrainState(
    jnp.zeros((), jnp.int32),
    params,
    {"balance": balance},
    step.start(params),
    jax.random.key(0),
  )
  run, rows = jax.jit(step), []
  for number in range(golden.load(case)["config"]["iterations"]):
    context = dataclasses.replace(context_of(), step=state.step)
    state, metrics = run(state, batch_of(case, number), context)
    rows.append({name: float(value) for name, value in metrics.items()})
  return params, state, rows


@pytest.mark.parametrize("case", CASES)
def test_steps(case):
  wanted = golden.load(case)
  of_losses, _, of_norms, of_outputs = (3 * x for x in ROUNDING[case])
  model = method(case)
  _, state, rows = trained(case)
  for name, key in (("critic", "ddis"), ("latent_critic", "edis")):
    found = [[row[f"{name}_{part}"] for part in PARTS] for row in rows]
    # A step reports its last critic step.
    given = wanted[f"losses_{key}_f64"][1::2]
    scale = np.abs(given).max()
    close(found, given, rtol=0, atol=of_losses * scale)
  found = np.array([[row[name] for name in COLUMNS] for row in rows])
  given = wanted["losses_f64"]
  # The first iteration follows the critics' steps.
  close(found[0, :3], given[0, :3], rtol=0, atol=3e-4 * np.abs(given[0]).max())
  close(found, given, rtol=0, atol=of_losses * np.abs(given).max())
  close(found[:, 3:], given[:, 3:], rtol=3e-3)
  after = golden.norms(case, state.params)
  for key, norm in wanted["param_norms"].items():
    close(after[key], norm, rtol=of_norms, err_msg=key)
  last = draw(case, 3 * len(rows))
  score = rec(model, state.params, last["image"])
  close(score, wanted["score_f64"], rtol=of_outputs)
  for name, x, key in (
    ("critic", last["image"], "ddis"),
    ("latent_critic", last["prior"], "edis"),
  ):
    given = wanted[f"eval_{key}_after"]
    got = model.judge(name, state.params, x)
    close(got, given, rtol=0, atol=of_outputs * np.abs(given).max())


def rec(model, params, image):
  found = model.outputs(golden.state(params), image)
  features = context_of().own["features"]
  return model.distance(features, model.layers, image, found["x_hat"])


@pytest.mark.parametrize("case", CASES)
def test_measured_norms(case):
  wanted = golden.load(case)["grad_history"]
  _, state, rows = trained(case)
  balance = state.extra["balance"]
  assert int(balance["count"]) == len(rows)
  for part, theirs in (("encoder", "enc"), ("decoder", "dec")):
    for name, kind in (("adversarial", "adv"), ("distance", "rec")):
      given = np.array(list(wanted[theirs][kind].values()))
      found = np.asarray(balance[part][name])[:, : len(rows)]
      # The order of kernels is another one; a median does not mind.
      assert len(found) == len(given)
      order = np.argsort(given[:, 0]), np.argsort(found[:, 0])
      close(found[order[1], 0], given[order[0], 0], rtol=1e-3)


@pytest.mark.parametrize("case", CASES)
def test_networks_before_training(case):
  wanted, model = golden.load(case), method(case)
  params = jax.tree.map(jnp.asarray, golden.parameters(case))
  first = draw(case, 0)
  image, noise = first["image"], first["prior"]
  code = model.encode(params, image)
  fake = model.decode(params, noise, image)
  x_hat = model.decode(params, code, image)
  for key, got in (("eval_z", code), ("eval_x", fake), ("eval_x_hat", x_hat)):
    given = wanted[key]
    got = cases.channels_first(got)[: len(given)]
    close(got, given, rtol=0, atol=2.1e-5 * np.abs(given).max())
  for name, x, key in (
    ("critic", image, "ddis_real"),
    ("critic", fake, "ddis_fake"),
    ("latent_critic", noise, "edis_real"),
    ("latent_critic", code, "edis_fake"),
  ):
    given = wanted[f"eval_{key}"]
    got = model.judge(name, params, x)
    close(got, given, rtol=0, atol=2.1e-5 * np.abs(given).max())
  close(rec(model, params, image), wanted["score_before"], rtol=2.1e-5)


def test_the_first_gradients():
  """What Adam gets in the first step, read off its moments."""
  case = "piad_small"
  wanted, model = golden.load(case), method(case)
  params, _, _ = trained(case)
  batch = jax.tree.map(lambda x: x[0], batch_of(case, 0))
  for name, fake, real, key in (
    (
      "critic",
      model.decode(params, batch["prior"], batch["image"]),
      batch["image"],
      "grad_norms_ddis",
    ),
    (
      "latent_critic",
      model.encode(params, batch["image"]),
      batch["prior"],
      "grad_norms_edis",
    ),
  ):

    def loss(own, name=name, fake=fake, real=real):
      judge = functools.partial(model.judge, name, {**params, name: own})
      return _perceptual.criticize(judge, real, fake, batch[name])[0]

    found = golden.norms(case, {name: jax.jit(jax.grad(loss))(params[name])})
    for entry, norm in wanted[key].items():
      # The last bias is in the small drift term alone.
      close(found[entry], norm, rtol=3e-4, atol=1e-6, err_msg=entry)


@pytest.mark.parametrize("tag", ["one", "few", "full", "long"])
def test_weights_from_given_norms(tag):
  wanted = golden.load("piad_gradnorm")
  config, balance = wanted["config"], piad.Balance()
  count = config["n"][tag]
  history = {}
  for loss, slope in (("adv", 1.0), ("rec", 0.3)):
    kind = "standard_normal"
    found = [
      golden.draw(f"piad_gradnorm/{tag}/{loss}{t}", (count,), kind)
      for t in range(4)
    ]
    found = [np.exp(0.5 * g + slope * t) for t, g in enumerate(found)]
    history[loss] = np.array(found, np.float32)
  params = {
    part: {str(t): {"kernel": jnp.zeros(1)} for t in range(4)}
    for part in ("encoder", "decoder")
  }
  state = balance.start(params)
  measured = jax.jit(balance.measured)
  for i in range(count):
    grads = [
      {
        part: {
          str(t): {"kernel": jnp.asarray(history[loss][t, i : i + 1])}
          for t in range(4)
        }
        for part in ("encoder", "decoder")
      }
      for loss in ("adv", "rec")
    ]
    # A measurement that is not due changes nothing.
    state = measured(state, grads[1], grads[0], jnp.array(False))
    state = measured(state, *grads, jnp.array(True))
  kept = int(state["count"])
  assert kept == wanted[f"{tag}_kept"]
  for part in ("encoder", "decoder"):
    close(state[part]["weight"], wanted[f"{tag}_weight"][0], rtol=2e-6)
  smoothed = balance.smoothed(state["encoder"]["adversarial"])[1, :kept:10]
  close(smoothed, wanted[f"{tag}_ewma_t1_adv"], rtol=2e-6)


def test_numbers_of_parameters():
  shape, key = (64, 64, 1), jax.random.key(0)
  init = piad.Method(weights="random").phases()[-1].init
  params, _ = jax.eval_shape(lambda: init(key, shape))
  found = {
    name: sum(x.size for x in jax.tree.leaves(tree))
    for name, tree in {**params["net"], "critic": params["critic"]}.items()
  }
  wanted = {"encoder": 3453376, "decoder": 2853569, "critic": 898497}
  assert found == wanted
  net = residual.Encoder((32, 64, 128, 128), 1, depth=1)
  shapes = jax.eval_shape(lambda: net.init(key, jnp.zeros((1, 32, 32, 3))))
  assert sum(x.size for x in jax.tree.leaves(shapes)) == 603905
