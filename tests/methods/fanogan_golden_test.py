"""f-AnoGAN against numbers of its formulas in PyTorch.

The official code is in TensorFlow 1; the numbers are of a restatement.
"""

import dataclasses
import zlib

import jax
import jax.numpy as jnp
import numpy as np

from medad_jax import steps
from medad_jax.methods import fanogan
from tests.golden import cases, filler, layout
from tests.golden.cases import close

NARROW = fanogan.Method(width=16)


def normal(name):
  draw = np.random.RandomState(zlib.crc32(f"fanogan/{name}".encode()))
  return jnp.asarray(draw.standard_normal((4, 128)).astype(np.float32))


def uniform(name):
  draw = np.random.RandomState(zlib.crc32(f"fanogan/{name}".encode()))
  return jnp.asarray(draw.uniform(0, 1, (4, 1)).astype(np.float32))[:, 0]


def images():
  return cases.channels_last(filler.named_images("fanogan", (4, 1, 64, 64)))


def states(case, filled):
  """The states of the stages with filled parameters."""
  shapes = cases.load(case)["shapes"]
  params, extra = layout.fanogan(filler.named(filled, shapes))
  params, extra = jax.tree.map(jnp.asarray, (params, extra))
  state = cases.state_of(None, None)
  encoder = params.pop("encoder", {}), extra.pop("encoder", {})
  return {
    "gan": state.replace(params=params, extra=extra),
    "train": cases.state_of(*encoder),
  }


def norm(tree):
  return jnp.sqrt(sum(jnp.sum(x**2) for x in jax.tree.leaves(tree)))


def test_nets_and_scores():
  method, expected = fanogan.Method(), cases.load("fanogan_net")
  batch, code = cases.batch_of(images()), normal("z")

  @jax.jit
  def found(states, image, code):
    gan, train = states["gan"], states["train"]
    image_shape = image.shape[1:]
    generator = method._generator(cases.CONTEXT.axis, image_shape)
    gen = generator.apply(
      {
        "params": gan.params["generator"],
        "batch_stats": gan.extra["generator"],
      },
      code,
      train=False,
    )
    values, features = method._judge(gan.params["critic"], image)
    context = dataclasses.replace(cases.CONTEXT, own=states)
    train_gen, new = method._fake(
      gan.params, gan.extra, code, image_shape, context
    )
    _, (new_encoder, _) = method.loss(train.params, train.extra, batch, context)
    preds = method.predict(states, batch)
    scores = method.score(jax.tree.map(lambda x: x[None], preds), batch, {})
    return {
      "eval_gen": gen[:2],
      "eval_critic": values,
      "eval_features_sample": features[:, ::64],
      "eval_critic_gen": method._judge(gan.params["critic"], gen)[0],
      "eval_z": preds["latent"],
      "eval_x_hat": preds["x_hat"][:2],
      "train_gen": train_gen[:1],
      "score_image": scores.image["rec"],
      "score_features": scores.image["features"],
      "score": scores.image["izi_f"],
      "score_z": scores.image["latent"],
    }, {"generator": new, "encoder": new_encoder["net"]}

  numbers, extra = found(states("fanogan_net", "fanogan"), images(), code)
  for name, value in numbers.items():
    wanted = expected[name]
    if value.ndim == 4:
      value = cases.channels_first(value)
    close(value, wanted, rtol=5e-6, atol=2e-5, err_msg=name)
  check_statistics(expected, extra)


def check_statistics(expected, extra):
  """Running statistics after one batch, by the case's keys."""
  checked = 0
  for key, wanted in expected.items():
    if key.startswith("stats/"):
      net, *block, layer, name = key.removeprefix("stats/").split(".")
      place = extra[net]
      for part in (*block, layer):
        place = place[part]
      close(place[name.removeprefix("running_")], wanted, atol=5e-7, rtol=2e-6)
      checked += 1
  assert checked == 34


def test_generator_and_critic_in_turn():
  expected = cases.load("fanogan_gan")
  gan = states("fanogan_gan", "fanogan16")["gan"]
  image = jnp.stack(2 * [images()])

  def criticize(params, extra, batch, context, handed):
    loss, metrics = NARROW.critic_loss(
      params, extra, batch["image"], batch["code"], batch["share"], context
    )
    return loss, (extra, metrics, None)

  def generate(params, extra, batch, context, handed):
    loss, extra = NARROW.generator_loss(
      params, extra, batch["code"], (64, 64, 1), context
    )
    return loss, (extra, {}, None)

  step = steps.Critic(
    (steps.Turn("critic", criticize, NARROW.gan.optimizer),),
    (steps.Turn("generator", generate, NARROW.gan.optimizer),),
    1,
  )
  gan = gan.replace(opt=step.start(gan.params))
  take, rows = jax.jit(lambda s, b: step(s, b, cases.CONTEXT)), []
  names = expected["loss_names"]
  for k in range(2):
    codes = jnp.stack([normal(f"z_critic{k}"), normal(f"z_generator{k}")])
    shares = 1 - jnp.stack(2 * [uniform(f"alpha{k}")])
    batch = {"image": image, "code": codes, "share": shares}
    gan, metrics = take(gan, batch)
    # Without a first moment the state holds the gradients.
    moments = (gan.opt[part][0].mu for part in ("critic", "generator"))
    metrics |= dict(zip((names[4], names[6]), map(norm, moments), strict=True))
    rows.append([float(metrics[name]) for name in names])
  close(rows[0], expected["losses"][0], rtol=1e-4)
  close(rows[1], expected["losses"][1], rtol=2e-3)
  value, _ = jax.jit(NARROW._judge)(gan.params["critic"], images())
  close(value, expected["eval_critic_after"], atol=3e-4)


def test_encoder():
  expected = cases.load("fanogan_izif")
  found = states("fanogan_izif", "fanogan16")
  context = dataclasses.replace(cases.CONTEXT, own={"gan": found["gan"]})
  batch, step = cases.batch_of(images()), NARROW.phases()[1].step
  train = found["train"].replace(opt=step.start(found["train"].params))

  @jax.jit
  def take(state):
    grads, _ = jax.grad(NARROW.loss, has_aux=True)(
      state.params, state.extra, batch, context
    )
    return *step(state, batch, context), norm(grads)

  rows = []
  for _ in range(3):
    train, metrics, norm_ = take(train)
    names = ("error", "features", "loss")
    rows.append([*(float(metrics[n]) for n in names), norm_])
  close(rows[0], expected["losses"][0], rtol=4e-5)
  close(rows, expected["losses"], rtol=1e-3)
  code = jax.jit(NARROW.encode)(train, images())
  close(code, expected["eval_z_after"], atol=1.2e-5)
