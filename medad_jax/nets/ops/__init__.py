"""Convolutions and matrix products: the only way to them for all networks.

Every device uses XLA's own operations, except CPUs, where forms of this project
are several times faster for small networks (`cpu/`). The choice is made when a
program is lowered for its platform (`jax.lax.platform_dependent`), so that a
program exported for another platform holds none of the CPU's forms.

Each product states its precision, also in its gradients. It is the one of
`jax.default_matmul_precision` around the call, and float32 without that scope:
JAX's own default is TensorFloat-32 on NVIDIA's GPUs and bfloat16 on TPUs.

Images are channels-last (b h w c), kernels are (height, width, in, out).
"""

import dataclasses
import functools

import jax
from jax import lax
from jaxtyping import Array, Float

from medad_jax.nets.ops import cpu, library

# The switch. `with cpu_forms(False):` lowers XLA's own operations for CPUs too,
# `cpu_forms.set_global(False)` does so for a whole process. JAX traces a
# function again when the value changes.
cpu_forms = jax.make_user_context(True)


def conv2d(
  x: Float[Array, "b h w i"],
  kernel: Float[Array, "p q i o"],
  stride: int = 1,
  padding: int = 0,
) -> Float[Array, "b y x o"]:
  """Convolution (cross-correlation) with zero padding on all four sides."""
  return _apply("conv2d", (stride, padding), x, kernel)


def conv2d_transpose(
  x: Float[Array, "b h w i"],
  kernel: Float[Array, "p q i o"],
  stride: int = 1,
  padding: int = 0,
  output_padding: int = 0,
) -> Float[Array, "b y x o"]:
  """Transposed convolution, the gradient of a convolution as an operation.

  The kernel is not flipped: input pixel (i, j) adds `x[i, j] @ kernel[a, b]` to
  output pixel (stride * i + a - padding, stride * j + b - padding).

  Args:
    x: images.
    kernel: its last axis is that of the output's channels.
    stride: factor of the sides.
    padding: rows and columns that are cut off on all four sides.
    output_padding: rows and columns of the output that are kept beyond that, at
      the bottom and on the right, as in PyTorch.
  """
  sizes = (stride, padding, output_padding)
  return _apply("conv2d_transpose", sizes, x, kernel)


def matmul(
  x: Float[Array, "*n i"], kernel: Float[Array, "i o"]
) -> Float[Array, "*n o"]:
  """Matrix product on the last axis of x."""
  return _apply("matmul", (), x, kernel)


@dataclasses.dataclass(frozen=True)
class _Product:
  """One of the operations above, without its arrays.

  Attributes:
    name: of the function, in `library` and in `cpu`.
    sizes: its integers.
    precision: a value of `jax.default_matmul_precision`.
  """

  name: str
  sizes: tuple[int, ...]
  precision: str

  def library(self, x, kernel):
    """XLA's own operation."""
    return getattr(library, self.name)(x, kernel, *self.sizes)

  def library_backward(self, x, kernel, dy):
    """Its gradients."""
    return jax.vjp(self.library, x, kernel)[1](dy)

  def form(self, x, kernel) -> cpu.Form | None:
    """The form that CPUs use for these shapes; None for XLA's own."""
    return getattr(cpu, self.name)(x, kernel, *self.sizes)


def _apply(name, sizes, x, kernel):
  precision = jax.config.jax_default_matmul_precision or "float32"
  product = _Product(name, sizes, precision)
  if cpu_forms.value and product.form(x, kernel):
    return _differentiable(product, x, kernel)
  with jax.default_matmul_precision(precision):
    return product.library(x, kernel)


@functools.partial(jax.custom_vjp, nondiff_argnums=(0,))
def _differentiable(product, x, kernel):
  with jax.default_matmul_precision(product.precision):
    return _value(product, x, kernel)


# Only x and the kernel are kept for the gradients, since both platforms must
# keep the same. What a CPU's form makes of x in both directions is written
# twice in the program and computed once: XLA merges equal operations.
def _differentiable_forward(product, x, kernel):
  with jax.default_matmul_precision(product.precision):
    return _forward(product, x, kernel), (x, kernel)


# JAX traces this after the network, outside of the network's own scope.
def _differentiable_backward(product, residuals, dy):
  with jax.default_matmul_precision(product.precision):
    return _backward(product, *residuals, dy)


_differentiable.defvjp(_differentiable_forward, _differentiable_backward)


# Functions of their own under `jit`: layers of equal shapes are traced once.
@functools.partial(jax.jit, static_argnums=0)
def _value(product, x, kernel):
  form = product.form(x, kernel)
  return _by_platform(form.value, product.library, x, kernel)


@functools.partial(jax.jit, static_argnums=0)
def _forward(product, x, kernel):
  form = product.form(x, kernel)
  return _by_platform(form.forward, product.library, x, kernel)


@functools.partial(jax.jit, static_argnums=0)
def _backward(product, x, kernel, dy):
  form = product.form(x, kernel)
  return _by_platform(form.backward, product.library_backward, x, kernel, dy)


def _by_platform(on_cpu, elsewhere, *arrays):
  if on_cpu is None:
    return elsewhere(*arrays)
  return lax.platform_dependent(*arrays, cpu=on_cpu, default=elsewhere)
