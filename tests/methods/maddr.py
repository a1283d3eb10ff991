"""Golden files of MADDR: constraints, labels and heads, and the comparison."""

import jax
import jax.numpy as jnp
import numpy as np

from medad_jax.methods import _constraint
from tests.golden import cases, filler, layout
from tests.golden.cases import close

MODES = ("released", "intended")
PLAIN = _constraint.Constraint()
CONSTRAINTS = {
  "plain": PLAIN,
  **{
    mode: _constraint.Constraint(mode, organ_width=10, modality_width=10)
    for mode in MODES
  },
}
HEADS = {"fc1.weight": (2, 10), "fc1.bias": (2,)}
HEADS |= {"fc2.weight": (2, 10), "fc2.bias": (2,)}


def labels(of_sets):
  """Organ and modality of LiTS (0), COVID-CT (1) and X-rays (2)."""
  of_sets = jnp.asarray(of_sets, jnp.int32)
  return {"organ": jnp.int32(of_sets > 0), "modality": jnp.int32(of_sets > 1)}


def batch(case="maddr", count=4):
  image = cases.channels_last(filler.named_images(case, (count, 1, 64, 64)))
  return {**cases.batch_of(image), **labels([0, 1, 2, 2])}


def with_heads(case, mode, params, extra):
  """Parameters and the rest with filled heads, where the mode has them."""
  heads = jax.tree.map(jnp.asarray, layout.heads(filler.named(case, HEADS)))
  if mode == "intended":
    params = {**params, "net": {**params["net"], "heads": heads}}
  if mode == "released":
    extra = {**extra, "heads": heads}
  return params, extra


def norm_of(tree):
  return np.sqrt(sum(np.vdot(x, x) for x in jax.tree.leaves(tree)))


def check_gradients(grads, stats, expected, norms, convert, rtol):
  """The norm of every parameter's first gradient, by PyTorch's key.

  Args:
    grads: of a net and perhaps of its "heads", or by part.
    stats: running statistics beside them.
    expected: the case, with "shapes".
    norms: of a float32 run.
    convert: from a `state_dict` to trees like `grads` and `stats`.
    rtol: what is allowed. Before a batch norm, biases have no gradient but
      for rounding.
  """
  grads, heads = apart(grads)
  shapes = {
    k: v for k, v in expected["shapes"].items() if not k.startswith("fc")
  }
  found = layout.by_key(grads, apart(stats)[0], shapes, convert)
  if heads is not None:
    found |= layout.by_key(heads, {}, HEADS, lambda x: (layout.heads(x), {}))
  least = 2e-6 * max(norms.values())
  for key, norm in norms.items():
    close(norm_of(found[key]), norm, rtol=rtol, atol=least, err_msg=key)


def apart(tree):
  """A tree without heads, and these."""
  net = tree.get("net", {})
  if "heads" in net:
    rest, heads = apart(net)
    return {**tree, "net": rest}, heads
  return {k: v for k, v in tree.items() if k != "heads"}, tree.get("heads")


def check_rows(found, wanted, tolerances):
  close(found[0], wanted[0], rtol=tolerances[0])
  close(found, wanted, rtol=tolerances[1])
