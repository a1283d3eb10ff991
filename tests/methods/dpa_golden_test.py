"""DPA against numbers of the official modules in PyTorch."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from medad_jax import losses, types
from medad_jax.methods import _perceptual, dpa
from medad_jax.nets import perceptual, residual
from tests.golden import cases
from tests.golden import perceptual as golden
from tests.golden.cases import close
from tests.methods import stepping

# Largest relative differences seen between the official modules in float32 and
# in float64: of losses over all steps, of norms of gradients, and of norms of
# what the parameters changed by. A test allows three times these.
ROUNDING = {
  "dpa_cifar_wo_pg": (1e-3, 2e-4, 6e-3),
  "dpa_svhn_wo_pg": (2e-4, 4e-5, 1e-2),
  "dpa_nih_wo_pg": (1e-4, 1e-4, 1e-2),
  "dpa_camelyon_wo_pg": (7e-6, 2e-6, 1e-3),
  "dpa_nih_unsup": (3e-5, 2e-5, 7e-4),
  "dpa_camelyon_unsup_l1": (5e-6, 7e-5, 2e-5),
  "dpa_with_l1": (9e-5, 1e-4, 2e-3),
  "dpa_channel_rule": (1e-7, 1e-6, 4e-6),
}
# The others are larger nets.
QUICK = ("dpa_camelyon_unsup_l1", "dpa_channel_rule")


def quick(*names):
  """All cases, of which the suite tries these alone."""
  return [
    pytest.param(case, marks=() if case in names else pytest.mark.slow)
    for case in ROUNDING
  ]


def double(tree):
  return jax.tree.map(
    lambda x: (
      x.astype(jnp.float64) if jnp.issubdtype(x.dtype, jnp.floating) else x
    ),
    tree,
  )


def batch_of(case):
  return cases.batch_of(golden.images(*golden.load(case)["config"]["images"]))


def scores(method, params, image):
  states = {"train": golden.state(params)}
  batch = cases.batch_of(image)
  preds = jax.tree.map(lambda x: x[None], method.predict(states, batch))
  fitted = {}
  if method.perceptual_weight:
    fitted["features"] = jax.tree.map(
      lambda x: jnp.asarray(x)[None], golden.features()
    )
  return preds, method.score(preds, batch, fitted)


@pytest.mark.parametrize("case", quick(*QUICK, "dpa_svhn_wo_pg"))
def test_codes_reconstructions_and_scores(case):
  method, wanted = golden.dpa_method(case), golden.load(case)
  params = jax.tree.map(jnp.asarray, golden.parameters(case))
  image = batch_of(case)["image"]
  out = jax.jit(method.net(types.Axis()).apply)(
    {"params": params["net"]}, image
  )
  code, x_hat = map(cases.channels_first, (out["latent"], out["x_hat"]))
  scale = np.abs(wanted["eval_z"]).max()
  close(code, wanted["eval_z"], rtol=0, atol=6e-6 * scale)
  seen = wanted["eval_x_hat"]
  close(x_hat[: len(seen)], seen, rtol=0, atol=6e-6 * np.abs(seen).max())
  _, found = jax.jit(functools.partial(scores, method))(params, image)
  close(found.image["rec"], wanted["score"], rtol=6e-6)
  close(found.image["rec"], np.mean(found.maps["rec"], (1, 2)), rtol=1e-6)


def descend(case, kind):
  method, wanted = golden.dpa_method(case), golden.load(case)
  own = {"features": golden.features()} if method.perceptual_weight else {}
  given = golden.parameters(case), batch_of(case), own
  given = jax.tree.map(jnp.asarray, given)
  params, batch, own = double(given) if kind == jnp.float64 else given
  stepper = stepping.Stepper(method.phases()[-1])
  done = stepper.descend(params, {}, batch, len(wanted["losses"]), own)
  return params, done


@pytest.mark.parametrize("case", quick(*QUICK))
def test_steps_in_float64(case):
  wanted = golden.load(case)
  of_norms = 3 * ROUNDING[case][1]
  with jax.enable_x64(True):
    _, done = descend(case, jnp.float64)
    found = golden.norms(case, done.grads)
  close(done.losses, wanted["losses_f64"], rtol=1e-6)
  for key, norm in wanted["grad_norms"].items():
    close(found[key], norm, rtol=of_norms, err_msg=key)


@pytest.mark.slow
def test_steps_in_float32():
  """Three steps of the case with the largest gap, and what they change."""
  case = "dpa_cifar_wo_pg"
  wanted = golden.load(case)
  of_losses, of_norms, of_changes = (3 * x for x in ROUNDING[case])
  params, done = descend(case, jnp.float32)
  close(done.losses[0], wanted["losses"][0], rtol=9e-6)
  close(done.losses[1], wanted["losses"][1], rtol=1.2e-3)
  close(done.losses, wanted["losses_f64"], rtol=of_losses)
  found = golden.norms(case, done.grads)
  for key, norm in wanted["grad_norms"].items():
    close(found[key], norm, rtol=of_norms, err_msg=key)


@pytest.mark.parametrize(
  "tag", ["gray", pytest.param("rgb", marks=pytest.mark.slow)]
)
def test_distances_and_their_gradients(tag):
  wanted, method = golden.load("dpa_losses"), dpa.Method()
  config = wanted["config"]
  name, shape = config[tag]["x"]
  x = golden.images(name, shape)
  second = golden.images(config[tag]["second"], shape)
  y = config["mix"] * x + (1 - config["mix"]) * second
  features = jax.tree.map(jnp.asarray, golden.features())

  @jax.jit
  def by_layer(y):
    found = method.distances(features, tuple(golden.LAYERS.values()), x, y)
    return [jnp.mean(distance, (1, 2)) for distance in found]

  found = by_layer(y)
  for key, distance in zip(golden.LAYERS, found, strict=True):
    close(distance, wanted[f"{tag}_rel_{key}"], rtol=3e-6)
  layers = [golden.LAYERS["r32"], golden.LAYERS["r42"]]

  def mean(y):
    found = method.distance(features, layers, x, y)
    return jnp.mean(found), found

  slope, found = jax.jit(jax.grad(mean, has_aux=True))(y)
  close(found, wanted[f"{tag}_rel_r32+r42"], rtol=3e-6)
  norm = wanted[f"{tag}_rel_r32+r42_grad_norm"]
  close(jnp.linalg.norm(slope), norm, rtol=1.5e-2)
  sample = cases.channels_first(slope)[1, 0, ::7, ::5].ravel()
  given = wanted[f"{tag}_rel_r32+r42_grad_sample"]
  close(sample, given, rtol=0, atol=1.5e-2 * np.abs(given).max())
  close(losses.absolute_error(y, x), wanted[f"{tag}_l1"], rtol=3e-6)
  close(losses.squared_error(y, x), wanted[f"{tag}_l2"], rtol=3e-6)
  pixels = method.map_of(features, x[:1], y[:1])
  given = wanted[f"{tag}_map_r42"][:, 0]
  close(pixels, given, rtol=0, atol=3e-6 * np.abs(given).max())


class Given(dpa.Method):
  """Takes the places of gradient penalties from the batch."""

  def share(self, batch, context, name):
    return batch["share"]


@pytest.mark.parametrize(
  ("case", "of_losses", "of_norms", "of_scores"),
  [
    ("dpa_with_adversarial", 1e-6, 6e-7, 2e-6),
    pytest.param(
      *("dpa_with_adversarial_l1", 8e-5, 2e-6, 7e-5), marks=pytest.mark.slow
    ),
  ],
)
def test_steps_with_a_critic(case, of_losses, of_norms, of_scores):
  wanted = golden.load(case)
  config = wanted["config"]
  plain = golden.dpa_method(case)
  method = Given(**{k: getattr(plain, k) for k in vars(plain)})
  (_, phase) = method.phases()
  assert phase.inputs.batches == 3
  name = config["draws"].split("K")[0]
  draws = [golden.images(f"{name}{k}", config["draw_shape"]) for k in range(7)]
  params = jax.tree.map(jnp.asarray, golden.parameters(case))
  check_critic(method, params, draws[0], wanted)
  state = golden.state(params).replace(
    step=jnp.zeros((), jnp.int32), opt=phase.step.start(params)
  )
  own = {"features": jax.tree.map(jnp.asarray, golden.features())}
  context = dataclasses.replace(cases.CONTEXT, own=own)
  step, found, penalties = jax.jit(phase.step), [], 0
  for k in range(2):
    batch = {"image": jnp.stack(draws[3 * k : 3 * k + 3])}
    share = [
      golden.draw(f"{case}/alpha{penalties + m}", (4, 1))[:, 0]
      for m in range(2)
    ]
    penalties += 2
    # The third batch is the autoencoder's and needs no such places.
    batch["share"] = jnp.stack([*share, share[0]])
    state, metrics = step(state, batch, context)
    found.append(metrics)
  names = ("wasserstein", "drift", "penalty")
  # The last critic step of each iteration is what a step reports.
  given = wanted["losses_dis_f64"][1::2]
  got = [[row[name] for name in names] for row in found]
  close(got, given, rtol=0, atol=3 * of_losses * np.abs(given).max())
  got = [[row["adversarial"], row["reconstruction"]] for row in found]
  given = wanted["losses_f64"]
  close(got, given, rtol=0, atol=3 * of_losses * np.abs(given).max())
  after = golden.norms(case, state.params)
  for key, norm in wanted["param_norms"].items():
    close(after[key], norm, rtol=3 * of_norms, err_msg=key)
  _, scored = scores(method, state.params, draws[6])
  close(scored.image["rec"], wanted["score_f64"], rtol=3 * of_scores)
  opinion = method.judge(state.params, draws[6])
  given = wanted["eval_ddis_after"]
  close(opinion, given, rtol=0, atol=3 * of_scores * np.abs(given).max())


def check_critic(method, params, image, wanted):
  """The critic before its training, and the first step's gradient of it."""
  x_hat = method.net(types.Axis()).apply({"params": params["net"]}, image)
  for name, x in (("real", image), ("fake", x_hat["x_hat"])):
    given = wanted[f"eval_ddis_{name}"]
    got = method.judge(params, x)
    close(got, given, rtol=0, atol=6e-6 * np.abs(given).max())
  name = f"{wanted['config']['case']}/alpha0"
  share = jnp.asarray(golden.draw(name, (4, 1))[:, 0])

  def loss(critic):
    own = {**params, "critic": critic}
    return _perceptual.criticize(
      lambda x: method.judge(own, x), image, x_hat["x_hat"], share
    )[0]

  slope = jax.jit(jax.grad(loss))(params["critic"])
  found = golden.norms(wanted["config"]["case"], {"critic": slope})
  for key, norm in wanted["grad_norms_ddis"].items():
    close(found[key], norm, rtol=3e-4, err_msg=key)


@pytest.mark.parametrize(
  ("options", "side", "colors", "wanted"),
  [
    ({"channels": (32,) * 4, "latent": 32}, 32, 3, (165280, 128259)),
    (
      {"channels": (32, 64, 128, 256), "latent": 256},
      32,
      3,
      (3841472, 2061507),
    ),
    (
      {"channels": (4,) * 7, "latent": 4, "latent_side": 8},
      64,
      3,
      (2776, 2183),
    ),
    (
      {"channels": (32, 32, 64, 64, 64), "latent": 64},
      64,
      1,
      (566720, 446593),
    ),
    # Longer lists: the encoder takes the tail, the decoder the head.
    (
      {"channels": (32, 32, 64, 64, 64, 64, 64), "latent": 64},
      64,
      1,
      (804800, 657025),
    ),
  ],
)
def test_numbers_of_parameters(options, side, colors, wanted):
  init = dpa.Method(weights="random", **options).phases()[-1].init
  shape = (side, side, colors)
  params, _ = jax.eval_shape(lambda: init(jax.random.key(0), shape))
  count = {
    part: sum(x.size for x in jax.tree.leaves(tree))
    for part, tree in params["net"].items()
  }
  assert (count["encoder"], count["decoder"]) == wanted
  critic = residual.Encoder((64,) * 5, 1)
  shapes = jax.eval_shape(
    lambda: critic.init(jax.random.key(0), jnp.zeros((1, 64, 64, 1)))
  )
  assert sum(x.size for x in jax.tree.leaves(shapes)) == 740225


def test_initial_values_are_those_of_the_reference():
  net = residual.Encoder((32,) * 5, 64)
  params = net.init(jax.random.key(0), jnp.zeros((1, 64, 64, 1)))["params"]
  layer = params["down_64"]["conv_0"]
  fan = 9 * 32
  assert np.std(layer["kernel"]) == pytest.approx(
    np.sqrt(2 / 1.04 / fan), rel=0.02
  )
  assert np.abs(layer["bias"]).max() < 1 / np.sqrt(fan)
  critic = residual.LatentCritic((512, 256))
  params = critic.init(jax.random.key(0), jnp.zeros((1, 128)))["params"]
  bounds = [np.abs(params[f"dense_{i}"]["kernel"]).max() for i in range(3)]
  fans, gains = (128 + 512, 512 + 256, 256 + 1), (2 / 1.04, 2 / 1.04, 1.0)
  wanted = [np.sqrt(6 * g / f) for f, g in zip(fans, gains, strict=True)]
  np.testing.assert_allclose(bounds, wanted, rtol=0.03)


def test_published_statistics_have_the_published_means():
  found = {
    name: (np.mean(x["mean"]), np.mean(x["scale"]))
    for name in perceptual.LAYERS
    for x in [perceptual.statistics(name)]
  }
  wanted = {
    "relu1_2": (0.511703, 1.036451),
    "relu2_2": (0.797966, 2.003291),
    "relu3_2": (1.423740, 3.268527),
    "relu4_2": (1.073162, 3.323435),
  }
  for name, pair in wanted.items():
    np.testing.assert_allclose(found[name], pair, atol=1e-6)
