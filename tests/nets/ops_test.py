"""The operations: CPU forms equal XLA's, and no other platform sees them."""

from collections.abc import Callable
import functools
import itertools
import re
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from medad_jax.nets import autoencoder, ops

halve = functools.partial(ops.conv2d, stride=2, padding=1)
double = functools.partial(ops.conv2d_transpose, stride=2, padding=1)
same = functools.partial(ops.conv2d, padding=1)
depthwise = functools.partial(ops.conv2d_depthwise, padding=(1, 1))
depthwise_halve = functools.partial(
  ops.conv2d_depthwise, stride=2, padding=(1, 2)
)


class Case(NamedTuple):
  """An operation and shapes for which CPUs have a form."""

  operation: Callable
  x: tuple[int, ...]
  kernel: tuple[int, ...]


WINOGRAD = {
  "halve": Case(halve, (2, 8, 12, 32), (4, 4, 32, 3)),
  "double": Case(double, (2, 4, 6, 3), (4, 4, 3, 32)),
  "same": Case(same, (2, 6, 10, 16), (3, 3, 16, 24)),
  "valid": Case(ops.conv2d, (2, 6, 10, 16), (3, 3, 16, 24)),
}
THIN = {
  "halve, patches": Case(halve, (2, 6, 8, 1), (4, 4, 1, 5)),
  "halve, sums": Case(halve, (2, 6, 8, 5), (4, 4, 5, 1)),
  "halve, sides no multiple of 4": Case(halve, (2, 6, 8, 32), (4, 4, 32, 3)),
  "double, windows": Case(double, (2, 3, 4, 3), (4, 4, 3, 2)),
  "double, sums": Case(double, (2, 3, 4, 9), (4, 4, 9, 2)),
  "same, few in": Case(same, (2, 4, 6, 3), (3, 3, 3, 16)),
  "same, few out": Case(same, (2, 6, 4, 16), (3, 3, 16, 2)),
  "same, odd side": Case(same, (2, 5, 6, 16), (3, 3, 16, 16)),
  "depthwise": Case(depthwise, (2, 5, 4, 6), (3, 3, 1, 6)),
  "depthwise, halves": Case(depthwise_halve, (2, 8, 6, 5), (5, 5, 1, 5)),
  "depthwise, odd side": Case(depthwise_halve, (1, 7, 9, 3), (5, 5, 1, 3)),
  "matmul of few rows": Case(ops.matmul, (2, 5), (5, 7)),
  "matmul of many rows": Case(ops.matmul, (9, 5), (5, 3)),
  "matmul of pixels": Case(ops.matmul, (2, 3, 4, 5), (5, 7)),
}
CASES = WINOGRAD | THIN
# XLA's own everywhere.
OTHERS = {
  "halve, odd side": Case(halve, (2, 5, 8, 2), (4, 4, 2, 3)),
  "valid, thin": Case(ops.conv2d, (2, 5, 6, 3), (3, 3, 3, 2)),
}


def draw(*shape, seed=0, kind=np.float32):
  return np.random.RandomState(seed).standard_normal(shape).astype(kind)


def arrays(case: Case, kind=np.float32):
  x, kernel = draw(*case.x, kind=kind), draw(*case.kernel, seed=1, kind=kind)
  return jnp.asarray(x), jnp.asarray(kernel)


def shapes(case: Case):
  return [jax.ShapeDtypeStruct(s, jnp.float32) for s in (case.x, case.kernel)]


@pytest.fixture
def float64():
  with jax.enable_x64(True):
    yield


def trained(operation: Callable) -> Callable:
  """The output where gradients are asked for, and they."""

  def function(x, kernel):
    y, pull = jax.vjp(operation, x, kernel)
    weights = jnp.sin(jnp.arange(y.size, dtype=y.dtype)).reshape(y.shape)
    return y, pull(weights * y)

  return function


def penalized(operation: Callable) -> Callable:
  """Gradients of the norm of a gradient, as critics have it in their loss."""

  def norm(x, kernel):
    slope = jax.grad(lambda x: jnp.sum(jnp.sin(operation(x, kernel))))(x)
    return jnp.sum(slope**2)

  return jax.grad(norm, (0, 1))


@pytest.mark.usefixtures("float64")
@pytest.mark.parametrize("name", CASES | OTHERS)
@pytest.mark.parametrize("wrap", [lambda f: f, trained, penalized])
def test_numbers_are_those_of_the_library(name, wrap):
  case = (CASES | OTHERS)[name]
  function = wrap(case.operation)
  found = jax.jit(function)(*arrays(case, float))
  with ops.own_forms(False):
    wanted = jax.jit(function)(*arrays(case, float))
  jax.tree.map(
    functools.partial(np.testing.assert_allclose, rtol=1e-11, atol=1e-9),
    found,
    wanted,
  )


@pytest.mark.parametrize("forms", [True, False])
def test_a_convolution_is_as_defined(forms):
  x, kernel = arrays(Case(halve, (1, 4, 6, 2), (4, 4, 2, 3)))
  padded = np.pad(x, ((0, 0), (1, 1), (1, 1), (0, 0)))
  with ops.own_forms(forms):
    y = halve(x, kernel)
  assert y.shape == (1, 2, 3, 3)
  for i in range(2):
    for j in range(3):
      window = padded[0, 2 * i : 2 * i + 4, 2 * j : 2 * j + 4]
      wanted = np.einsum("abi,abio->o", window, kernel)
      np.testing.assert_allclose(y[0, i, j], wanted, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("forms", [True, False])
@pytest.mark.parametrize(
  ("side", "padding", "more"), [(4, 1, 0), (3, 1, 1), (1, 0, 1), (7, 3, 1)]
)
def test_a_transposed_convolution_is_as_defined(forms, side, padding, more):
  x, kernel = arrays(Case(double, (1, 3, 2, 4), (side, side, 4, 2)))
  wanted = np.zeros((4 + side + more, 2 + side + more, 2))
  for i in range(3):
    for j in range(2):
      wanted[2 * i : 2 * i + side, 2 * j : 2 * j + side] += np.einsum(
        "i,abio->abo", x[0, i, j], kernel
      )
  wanted = wanted[padding : padding + 6, padding : padding + 4]
  with ops.own_forms(forms):
    y = ops.conv2d_transpose(x, kernel, 2, padding, more)
  assert y.shape == (1, 6, 4, 2)
  np.testing.assert_allclose(y[0], wanted, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", WINOGRAD)
def test_members_are_computed_apart(name):
  case = WINOGRAD[name]
  function = jax.jit(trained(case.operation))
  both = [arrays(case), [2 * x[..., ::-1] for x in arrays(case)]]
  stacked = [jnp.stack(pair) for pair in zip(*both, strict=True)]
  together = jax.jit(jax.vmap(trained(case.operation)))(*stacked)
  for k, alone in enumerate(both):
    jax.tree.map(
      lambda got, wanted, k=k: np.testing.assert_allclose(
        got[k], wanted, rtol=1e-4, atol=1e-3
      ),
      together,
      function(*alone),
    )


# Wide layers: (case, bound of the operations relative to XLA's, bound of the
# rounding error relative to XLA's).
WIDE = {
  "halve": (Case(halve, (8, 16, 16, 64), (4, 4, 64, 64)), 9 / 16, 5),
  "double": (Case(double, (8, 8, 8, 64), (4, 4, 64, 64)), 9 / 16, 5),
  "same": (Case(same, (8, 16, 16, 64), (3, 3, 64, 64)), 16 / 36, 2),
}


@pytest.mark.parametrize("name", WIDE)
def test_winograd_saves_products(name):
  case, share, _ = WIDE[name]
  # A multiplication and an addition for each product, in three convolutions.
  images = max(case.x, jax.eval_shape(case.operation, *shapes(case)).shape)
  pixels = images[0] * images[1] * images[2] // (1 if name == "same" else 4)
  direct = 3 * 2 * pixels * np.prod(case.kernel)
  compiled = jax.jit(trained(case.operation)).lower(*shapes(case)).compile()
  counted = compiled.cost_analysis()["flops"] / direct
  assert share <= counted <= share + 0.1


@pytest.mark.parametrize("name", WIDE)
def test_less_than_a_digit_is_lost(name):
  case, _, factor = WIDE[name]
  # Not in one program with float64: sums would be taken in another order.
  with jax.enable_x64(True):
    wanted = np.asarray(case.operation(*arrays(case, float)))

  def error():
    (y, _) = jax.jit(trained(case.operation))(*arrays(case))
    return np.sqrt(np.mean((np.asarray(y) - wanted) ** 2))

  by_winograd = error()
  with ops.own_forms(False):
    assert 0 < by_winograd < factor * error()


def test_without_gradients_memory_is_that_of_the_library():
  case = WIDE["same"][0]

  def temporaries(function):
    compiled = jax.jit(function).lower(*shapes(case)).compile()
    return compiled.memory_analysis().temp_size_in_bytes

  assert 4 * temporaries(case.operation) < temporaries(trained(case.operation))


def program(function: Callable, arguments, *platforms: str) -> dict[str, int]:
  """Counts of operations of a program that is lowered for these platforms."""
  exported = jax.export.export(jax.jit(function), platforms=platforms)
  text = exported(*arguments).mlir_module()
  kinds = re.findall(r"stablehlo\.(\w+)", text)
  return {kind: kinds.count(kind) for kind in set(kinds)}


def step(name: str):
  """The gradients of a layer, or of two members of an autoencoder."""
  if name in CASES:
    return trained(CASES[name].operation), shapes(CASES[name])
  net = autoencoder.Autoencoder(latent=3, hidden=32)
  images = jax.ShapeDtypeStruct((2, 4, 32, 32, 1), jnp.float32)
  variables = jax.eval_shape(
    jax.vmap(lambda x: net.init(jax.random.key(0), x, train=False)), images
  )

  def loss(params, stats, x):
    out, _ = net.apply(
      {"params": params, "batch_stats": stats},
      x,
      train=True,
      mutable=["batch_stats"],
    )
    return jnp.mean((out["x_hat"] - x) ** 2)

  arguments = variables["params"], variables["batch_stats"], images
  return jax.vmap(jax.value_and_grad(loss)), arguments


@pytest.mark.parametrize(
  ("name", "platform"),
  [
    *itertools.product([*CASES, "autoencoder"], ["cuda", "rocm"]),
    ("autoencoder", "tpu"),  # of two members; see elsewhere_test.py for one
  ],
)
def test_other_platforms_see_the_library_alone(name, platform):
  """A program that a CPU's host lowers for them, forms on or off.

  Squares are cut and put together, and convolutions stay as many.
  """
  function, arguments = step(name)
  found = program(function, arguments, platform)
  with ops.own_forms(False):
    plain = program(function, arguments, platform)
  assert "optimization_barrier" not in found
  # Choosing takes a branch; kernels that are turned and not used stay.
  for kind in ("case", "constant", "return", "reverse", "transpose"):
    found.pop(kind, None)
    plain.pop(kind, None)
  for kind in ("pad", "reshape", "slice"):
    assert found.pop(kind, 0) >= plain.pop(kind, 0)
  assert found == plain


def test_a_program_for_both_platforms_holds_both():
  function, arguments = step("autoencoder")
  on_cpu = program(function, arguments, "cpu")
  elsewhere = program(function, arguments, "cuda")
  both = program(function, arguments, "cpu", "cuda")
  # Eight convolutions and their two gradients each, but for that of the image;
  # four layers are dense.
  assert elsewhere["convolution"] == 3 * 8 - 1
  assert elsewhere["dot_general"] == 3 * 4
  assert "convolution" not in on_cpu and on_cpu["dot_general"] > 100
  # JAX writes every product once for each platform.
  for kind in ("convolution", "dot_general"):
    assert both[kind] == 2 * (elsewhere[kind] + on_cpu.get(kind, 0))


def test_a_program_for_both_platforms_runs_here():
  case = CASES["same"]
  function = jax.jit(trained(case.operation))
  exported = jax.export.export(function, platforms=("cpu", "cuda"))
  found = exported(*shapes(case)).call(*arrays(case))
  jax.tree.map(
    functools.partial(np.testing.assert_allclose, rtol=1e-5, atol=1e-4),
    found,
    function(*arrays(case)),
  )


@pytest.mark.parametrize("name", WINOGRAD)
def test_sixteen_bits_are_not_enough_for_differences_of_pixels(name):
  case = WINOGRAD[name]
  half = [jax.ShapeDtypeStruct(x.shape, jnp.bfloat16) for x in shapes(case)]
  function = trained(case.operation)
  few = program(function, half, "cpu")
  many = program(function, shapes(case), "cpu")
  assert many["dot_general"] >= 27
  assert few.get("dot_general", 0) <= 9


def test_the_switch_retraces():
  function = jax.jit(trained(CASES["same"].operation))
  arguments = shapes(CASES["same"])
  texts = []
  for forms in (True, False, True):
    with ops.own_forms(forms):
      texts.append(function.lower(*arguments).as_text())
  # XLA's convolution and its two gradients.
  assert [text.count("stablehlo.convolution") for text in texts] == [0, 3, 0]


@pytest.mark.parametrize("name", CASES | OTHERS)
@pytest.mark.parametrize("precision", [None, "tensorfloat32", "bfloat16"])
def test_gradients_have_the_precision_of_the_call(name, precision):
  """Also where they are taken outside of its scope, and once more."""
  case = (CASES | OTHERS)[name]

  def scoped(x, kernel):
    with jax.default_matmul_precision(precision):
      return case.operation(x, kernel)

  found = set()
  for function in (trained(scoped), penalized(scoped)):
    text = str(jax.make_jaxpr(function)(*shapes(case)))
    found |= set(re.findall(r"\bprecision=(\(.*?\)|\w+)", text))
  wanted = {None: "HIGHEST", "tensorfloat32": "HIGH", "bfloat16": "DEFAULT"}
  word = f"Precision.{wanted[precision]}"
  assert found == {f"({word}, {word})"}
