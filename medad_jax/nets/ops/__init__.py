"""Convolutions and matrix products: the only way to them for all networks.

Every device uses XLA's own operations, except CPUs, where forms of this project
are several times faster for small networks (`cpu/`). Elsewhere 4x4 convolutions
of stride 2 are XLA's of squares of pixels (`squares.py`), and members' kernel
gradients are XLA's of batch groups, or products for a TPU's only member
(`grouped.py`). The choice is made when a program is lowered for its platform
(`jax.lax.platform_dependent`), so that a program exported for another platform
holds none of the CPU's forms.

Each product states its precision, also in its gradients. It is the one of
`jax.default_matmul_precision` around the call, and float32 without that scope:
JAX's own default is TensorFloat-32 on NVIDIA's GPUs and bfloat16 on TPUs.

Images are channels-last (b h w c), kernels are (height, width, in, out).
"""

from collections.abc import Callable
import functools
from types import ModuleType

import jax
from jax import lax
from jaxtyping import Array, Float

from medad_jax.nets.ops import cpu, grouped, library, squares, sums

# The switch. `with own_forms(False):` leaves all of these forms out, on CPUs as
# elsewhere; `own_forms.set_global(False)` does so for a whole process. JAX
# traces a function again when the value changes.
own_forms = jax.make_user_context(True)


def conv2d(
  x: Float[Array, "b h w i"],
  kernel: Float[Array, "p q i o"],
  stride: int = 1,
  padding: int = 0,
) -> Float[Array, "b y x o"]:
  """Convolution (cross-correlation) with zero padding on all four sides."""
  sizes = (stride, padding)
  # Shapes alone decide, so that one program serves all numbers.
  form = own_forms.value and cpu.conv2d(x, kernel, *sizes)
  by = squares if squares.serves(x, kernel, sizes) else grouped
  return _product("conv2d", sizes, form, by)(x, kernel)


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
  form = own_forms.value and cpu.conv2d_transpose(x, kernel, *sizes)
  by = squares if squares.serves(x, kernel, sizes) else library
  return _product("conv2d_transpose", sizes, form, by)(x, kernel)


def conv2d_depthwise(
  x: Float[Array, "b h w c"],
  kernel: Float[Array, "p q 1 c"],
  stride: int = 1,
  padding: tuple[int, int] = (0, 0),
) -> Float[Array, "b y x c"]:
  """Convolution of each channel by itself.

  Args:
    x: images.
    kernel: one a channel.
    stride: in both directions.
    padding: zeros above and on the left, and below and on the right.
  """
  sizes = (stride, *padding)
  form = own_forms.value and cpu.conv2d_depthwise(x, kernel, *sizes)
  return _product("conv2d_depthwise", sizes, form)(x, kernel)


def matmul(
  x: Float[Array, "*n i"], kernel: Float[Array, "i o"]
) -> Float[Array, "*n o"]:
  """Matrix product on the last axis of x."""
  form = own_forms.value and cpu.matmul(x, kernel)
  return _product("matmul", (), form)(x, kernel)


def sum_both(
  x: Float[Array, "*n c"], y: Float[Array, "*n c"]
) -> tuple[Float[Array, "c"], Float[Array, "c"]]:
  """The sum of each of two arrays over all axes but the last one."""
  return sums.both(x, y)


def moments(
  x: Float[Array, "*n c"],
) -> tuple[Float[Array, "c"], Float[Array, "c"]]:
  """Mean and biased variance over all axes but the last one."""
  return sums.moments(x)


def _product(name, sizes, form, by=library):
  """The function of `library` of that name, in the CPU's form where it has one.

  Args:
    name: of the function.
    sizes: its integers.
    form: the CPU's for these shapes; None or False for XLA's everywhere.
    by: the module whose function of the name other platforms have beside it.
  """
  # Read at the call, as gradients are traced after the scope has ended.
  precision = jax.config.jax_default_matmul_precision or "float32"
  if form:
    return _with_form(name, sizes, precision, form, by)
  return _by(library, name, sizes, precision)


@functools.cache
def _by(
  module: ModuleType, name: str, sizes: tuple[int, ...], precision: str
) -> Callable:
  function = getattr(module, name)

  def product(x, kernel):
    with jax.default_matmul_precision(precision):
      return function(x, kernel, *sizes)

  return product


@functools.cache
def _with_form(
  name: str,
  sizes: tuple[int, ...],
  precision: str,
  form: cpu.Form,
  by: ModuleType,
) -> Callable:
  elsewhere = _by(by, name, sizes, precision)

  def backward_elsewhere(x, kernel, dy):
    # Its forward pass is not used, and XLA removes it.
    return jax.vjp(elsewhere, x, kernel)[1](dy)

  # The 3x3 forms have none: without gradients XLA's own need less memory.
  value = _by_platform(form.value, elsewhere) if form.value else elsewhere
  forward = _by_platform(form.forward, elsewhere)
  backward = _by_platform(form.backward, backward_elsewhere)

  @jax.custom_vjp
  def product(x, kernel):
    with jax.default_matmul_precision(precision):
      return value(x, kernel)

  # Only x and the kernel are kept for the gradients, since both platforms must
  # keep the same. What a CPU's form makes of x in both directions is written
  # twice in the program and computed once: XLA merges equal operations.
  def product_forward(x, kernel):
    with jax.default_matmul_precision(precision):
      return forward(x, kernel), (x, kernel)

  # JAX calls this after the network, outside of the scope around the network.
  def product_backward(residuals, dy):
    with jax.default_matmul_precision(precision):
      return backward(*residuals, dy)

  product.defvjp(product_forward, product_backward)
  return product


def _by_platform(on_cpu, elsewhere):
  """A function of its own under `jit`: equal layers are traced once."""
  return jax.jit(
    functools.partial(lax.platform_dependent, cpu=on_cpu, default=elsewhere)
  )
