"""Forms of other platforms than CPUs: the numbers are the library's."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from medad_jax.nets.ops import grouped, library, squares, sums
from tests.nets.ops_test import draw, penalized, program, trained

# A form, the library's operation, and shapes of images and of a kernel.
CASES = {
  "same": (
    lambda x, k: grouped.conv2d(x, k, 1, 1),
    lambda x, k: library.conv2d(x, k, 1, 1),
    (2, 6, 5, 3),
    (3, 3, 3, 4),
  ),
  "strided": (
    lambda x, k: grouped.conv2d(x, k, 2, 1),
    lambda x, k: library.conv2d(x, k, 2, 1),
    (2, 6, 8, 3),
    (4, 4, 3, 2),
  ),
  "halve": (
    squares.conv2d,
    lambda x, k: library.conv2d(x, k, 2, 1),
    (2, 6, 8, 3),
    (4, 4, 3, 2),
  ),
  "double": (
    squares.conv2d_transpose,
    lambda x, k: library.conv2d_transpose(x, k, 2, 1, 0),
    (2, 3, 5, 3),
    (4, 4, 3, 2),
  ),
}
# Members by axis: none, of both factors, of one alone, and of members.
AXES = [(), ((0, 0),), ((0, None),), ((None, 0),), ((0, 0), (0, None))]


@pytest.mark.parametrize("wrap", [trained, penalized])
@pytest.mark.parametrize("axes", AXES)
@pytest.mark.parametrize("name", CASES)
def test_numbers_are_those_of_the_library(name, axes, wrap):
  form, plain, x, kernel = CASES[name]
  sizes = [
    [2 + level for level, axis in enumerate(axes) if axis[factor] == 0][::-1]
    for factor in (0, 1)
  ]
  functions = wrap(form), wrap(plain)
  for axis in axes:
    functions = [jax.vmap(function, axis) for function in functions]
  with jax.enable_x64(True):
    given = (
      jnp.asarray(draw(*sizes[0], *x, kind=float)),
      jnp.asarray(draw(*sizes[1], *kernel, seed=1, kind=float)),
    )
    found, wanted = (jax.jit(function)(*given) for function in functions)
  jax.tree.map(
    functools.partial(np.testing.assert_allclose, rtol=1e-10, atol=1e-8),
    found,
    wanted,
  )


@pytest.mark.parametrize("name", ["same", "halve", "double"])
def test_members_gradients_are_what_gpus_have_kernels_for(name):
  """Kernel gradients by batch groups, and no zeros between pixels."""
  form, _, x, kernel = CASES[name]
  shapes = [
    jax.ShapeDtypeStruct((3, *shape), jnp.float32) for shape in (x, kernel)
  ]
  function = jax.jit(jax.vmap(trained(form)))
  exported = jax.export.export(function, platforms=("cuda",))(*shapes)
  text = exported.mlir_module()
  assert program(jax.vmap(trained(form)), shapes, "cuda")["convolution"] == 3
  assert text.count("batch_group_count = 3") == 1
  assert text.count("feature_group_count = 3") == 2
  assert "lhs_dilate = [2" not in text and "rhs_dilate = [2" not in text


@pytest.mark.parametrize("name", ["same", "halve", "double"])
def test_a_tpu_takes_one_members_kernel_gradient_by_products(name):
  """As a convolution it can take the compiler for TPUs minutes."""
  form, _, *given = CASES[name]
  shapes = [jax.ShapeDtypeStruct(shape, jnp.float32) for shape in given]
  taps = 9 if name == "same" else 4
  for members in (None, 1):
    function = trained(form)
    if members:
      function = jax.vmap(function)
      shapes = [jax.ShapeDtypeStruct((1, *x.shape), x.dtype) for x in shapes]
    found = program(function, shapes, "tpu")
    assert found["convolution"] == 2  # the value's and the images' gradient
    assert found["dot_general"] == taps


@pytest.mark.parametrize("padding", [0, 1, 2])
def test_products_of_shifted_images_are_the_kernels_gradient(padding):
  with jax.enable_x64(True):
    x = jnp.asarray(draw(2, 7, 6, 3, kind=float))
    kernel = jnp.zeros((3, 2, 3, 4))
    y = library.conv2d(x, kernel, 1, padding)
    dy = jnp.asarray(draw(*y.shape, seed=1, kind=float))
    sizes = kernel.shape, 1, padding, 1, None
    found = grouped._shifted(x, dy, sizes)
    wanted = grouped._transposed(x, dy, sizes, groups=1)
  np.testing.assert_allclose(found, wanted, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("shape", [(8, 5), (3, 4, 6, 5)])
def test_moments_in_one_pass_are_those_in_two(shape):
  x = 1000 + draw(*shape)
  with jax.enable_x64(True):
    wanted = [np.mean(x, axis=tuple(range(x.ndim - 1)), dtype=float)]
    wanted.append(np.var(x, axis=tuple(range(x.ndim - 1)), dtype=float))
  for found in (sums._one_pass(x), sums._two_passes(x)):
    np.testing.assert_allclose(found[0], wanted[0], rtol=1e-6)
    np.testing.assert_allclose(found[1], wanted[1], rtol=1e-3)


def test_constant_channels_have_no_negative_variance():
  x = jnp.full((3, 4, 4, 5), 0.1) + jnp.arange(5) / 7
  assert (np.asarray(sums._one_pass(x)[1]) >= 0).all()


def test_sums_in_one_reduction_are_those_in_two():
  x, y = draw(3, 4, 6, 5), draw(3, 4, 6, 5, seed=1)
  for found, given in zip(sums._one_reduction(x, y), (x, y), strict=True):
    np.testing.assert_allclose(found, given.sum((0, 1, 2)), atol=1e-4)


def test_gradients_of_sums_and_moments_are_as_derived():
  x, y = jnp.asarray(draw(3, 4, 5)), jnp.asarray(draw(3, 4, 5, seed=1))

  def by(moments, both):
    def value(x, y):
      return sum(jnp.sum(jnp.sin(z)) for z in (*moments(x), *both(x * y, y)))

    return jax.grad(value, (0, 1))(x, y)

  found = by(sums.moments, sums.both)
  wanted = by(sums._two_passes, sums._two_sums)
  jax.tree.map(
    functools.partial(np.testing.assert_allclose, rtol=1e-4, atol=1e-5),
    found,
    wanted,
  )
