"""The methods of DDAD-ASR against numbers of the PyTorch reference, float32."""

import functools

import jax
import jax.numpy as jnp
import pytest

from medad_jax.nets.refine import RefineNet
from medad_jax.scoring import discrepancy
from tests.golden import cases, filler, imported
from tests.golden.cases import close
from tests.methods import published


@pytest.fixture(scope="module", params=published.DDAD)
def case(request):
  name, expected = request.param, cases.load(request.param)
  method = published.DDAD[name]
  image = cases.channels_last(filler.named_images("ddad", (4, 1, 64, 64)))
  # By way of files, so that what is imported gives the expected numbers.
  found = imported.ensemble_trees(
    method,
    image.shape[1:],
    filler.named(name, expected["shapes"]),
    filler.named("ddad_refine", cases.load("ddad_refine")["shapes"]),
  )
  params, extra = found["ensemble"]
  state = cases.state_of(params["net"], extra["net"])
  return method, state, image, expected


def test_predictions_and_scores(case):
  method, member, image, expected = case
  batch = cases.batch_of(image)
  preds = jax.jit(lambda s: method.predict({"train": s}, batch))(member)
  for name in preds.keys() & {"x_hat", "log_var"}:
    wanted = expected[f"eval_{name}"]
    close(cases.channels_first(preds[name]), wanted, atol=2e-6)
  preds = {name: pred[None] for name, pred in preds.items()}
  scores = method.score(preds, batch, {})
  close(scores.image["rec"], expected["score"], rtol=2e-6)
  error = scores.maps["rec"][:, None]
  close(error, expected["score_map"], rtol=1e-5, atol=1e-5)


def test_outputs_in_training(case):
  method, member, image, expected = case
  out, _ = jax.jit(
    lambda s: method.apply(s.params, s.extra, image, cases.CONTEXT)
  )(member)
  for name in ("x_hat", "log_var"):
    if name in out:
      got = cases.channels_first(out[name][:1])
      close(got, expected[f"train_{name}"], rtol=1e-4, atol=5e-5)
  if "attention" in out:
    close(out["attention"][:1], expected["train_att"], atol=2e-6)


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
      close(got[:, None], expected[name + suffix], rtol=1e-5, atol=2e-6)


def test_refinement():
  expected = cases.load("ddad_refine")
  state = filler.named("ddad_refine", expected["shapes"])
  ae = filler.named("ddad_ae", cases.load("ddad_ae")["shapes"])
  found = imported.ensemble_trees(
    published.DDAD["ddad_ae"], (64, 64, 1), ae, state
  )
  params, stats = (tree["net"] for tree in found["refine_dual"])
  stack = published.discrepancies()
  net = RefineNet()
  logits = jax.jit(functools.partial(net.apply, train=False))(
    {"params": params, "batch_stats": stats}, stack
  )
  prob = cases.channels_first(jax.nn.softmax(logits))
  close(prob, expected["eval_prob"], atol=2e-6)
  close(prob[:, 1].mean((1, 2)), expected["score"], rtol=2e-6)
