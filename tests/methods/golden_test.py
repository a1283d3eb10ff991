"""The methods of DDAD-ASR against numbers of the PyTorch reference, float32."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from medad_jax.methods import ae, aeu, memae
from medad_jax.nets.refine import RefineNet
from medad_jax.scoring import discrepancy
from tests.golden import cases, filler, layout

METHODS = {
  "ddad_ae": ae.Method(),
  "ddad_aeu": aeu.Method(),
  "ddad_memae": memae.Method(),
  "ddad_memae_shrink": memae.Method(threshold=0.045),
}


@pytest.fixture(scope="module", params=METHODS)
def case(request):
  expected = cases.load(request.param)
  state = filler.named(request.param, expected["shapes"])
  image = cases.channels_last(filler.named_images("ddad", (4, 1, 64, 64)))
  return METHODS[request.param], state, image, expected


@pytest.fixture
def double():
  """Adam's first steps amplify rounding: only the reference may round."""
  with jax.enable_x64(True):
    yield


def test_predictions_and_scores(case):
  method, state, image, expected = case
  batch = cases.batch_of(image)
  member = cases.state_of(*layout.autoencoder(state))
  preds = jax.jit(lambda s: method.predict({"train": s}, batch))(member)
  for name in preds.keys() & {"x_hat", "log_var"}:
    wanted = expected[f"eval_{name}"]
    _close(cases.channels_first(preds[name]), wanted, atol=2e-6)
  preds = {name: pred[None] for name, pred in preds.items()}
  scores = method.score(preds, batch, {})
  _close(scores.image["rec"], expected["score"], rtol=2e-6)
  error = scores.maps["rec"][:, None]
  _close(error, expected["score_map"], rtol=1e-5, atol=1e-5)


def test_outputs_in_training(case):
  method, state, image, expected = case
  member = cases.state_of(*layout.autoencoder(state))
  out, _ = jax.jit(
    lambda s: method.apply(s.params, s.extra, image, cases.CONTEXT)
  )(member)
  for name in ("x_hat", "log_var"):
    if name in out:
      got = cases.channels_first(out[name][:1])
      _close(got, expected[f"train_{name}"], rtol=1e-4, atol=5e-5)
  if "attention" in out:
    _close(out["attention"][:1], expected["train_att"], atol=2e-6)


@pytest.mark.usefixtures("double")
def test_training(case):
  method, state, image, expected = case
  params, stats, image = cases.doubled((*layout.autoencoder(state), image))
  values, grads, (_, stats) = cases.descend_net(
    cases.method_loss(method, image), params, stats, cases.ENSEMBLES, 3
  )
  _close(values[0], expected["losses"][0], rtol=1e-6)
  # With a memory all codes are nearly equal and a batch normalization of four
  # of them magnifies the reference's rounding: PyTorch in float64 gives our
  # losses to 1e-12, and its own in float32 to these tolerances only.
  slack = 10 if isinstance(method, memae.Method) else 1
  _close(values, expected["losses"], rtol=slack * 3e-4)
  found = layout.by_key(grads, stats, expected["shapes"], layout.autoencoder)
  for key, norm in expected["grad_norms"].items():
    _close(
      np.linalg.norm(found[key]),
      norm,
      rtol=slack * 3e-4,
      atol=2e-6,
      err_msg=key,
    )
  for name, value in expected.items():
    if name.startswith("stats/"):
      key = name.removeprefix("stats/")
      _close(found[key], value, rtol=3e-3, atol=1e-3, err_msg=key)


def test_discrepancies():
  expected = cases.load("ddad_discrepancy")
  shape = (3, 2, 64, 64)
  unknown, normative, variance = (
    jnp.asarray(filler.named_images(f"ddad_{name}", shape))[..., None]
    for name in "abv"
  )
  variance = jnp.mean(jnp.abs(variance) + 0.1, 0)
  image = cases.channels_last(filler.named_images("ddad_x", (2, 1, 64, 64)))
  mean = jnp.mean(normative, 0)
  for suffix, var in (("", None), ("_u", variance)):
    for name, got in {
      "rec": discrepancy.error_map(image, mean, var),
      "inter": discrepancy.inter_map(unknown, normative, var),
      "intra": discrepancy.intra_map(normative, var),
    }.items():
      _close(got[:, None], expected[name + suffix], rtol=1e-5, atol=2e-6)


def test_refinement():
  expected = cases.load("ddad_refine")
  state = filler.named("ddad_refine", expected["shapes"])
  params, stats = layout.refine_net(state)
  a, b = (filler.named_images(f"ddad_{name}", (3, 2, 64, 64)) for name in "ab")
  unknown, normative = jnp.asarray(a)[..., None], jnp.asarray(b)[..., None]
  stack = jnp.stack(
    [
      discrepancy.inter_map(unknown, normative),
      discrepancy.intra_map(normative),
    ],
    -1,
  )
  net = RefineNet()
  logits = jax.jit(functools.partial(net.apply, train=False))(
    {"params": params, "batch_stats": stats}, stack
  )
  prob = cases.channels_first(jax.nn.softmax(logits))
  _close(prob, expected["eval_prob"], atol=2e-6)
  _close(prob[:, 1].mean((1, 2)), expected["score"], rtol=2e-6)
  mask = jnp.asarray(expected["mask"][:, 0], bool)
  values, grads, (_, stats) = cases.descend_net(
    cases.refine_loss(net, stack, mask), params, stats, cases.REFINEMENT, 3
  )
  _close(values[0], expected["losses"][0], rtol=1e-6)
  _close(values, expected["losses"], rtol=1e-3)
  found = layout.by_key(grads, stats, expected["shapes"], layout.refine_net)
  for key, norm in expected["grad_norms"].items():
    _close(np.linalg.norm(found[key]), norm, rtol=3e-4, atol=2e-6, err_msg=key)


def _close(got, wanted, **tolerance):
  got = np.asarray(got)
  if got.shape != np.shape(wanted):
    got = got[cases.SAMPLED]
  np.testing.assert_allclose(got, wanted, **tolerance)
