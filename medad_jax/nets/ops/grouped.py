"""XLA's convolutions with kernel gradients that members share a library's for.

JAX takes gradients before `vmap` adds members, so that the kernel gradients of
members are one convolution whose channels are examples: on GPUs both factors
are transposed for it first. The gradient of the members' convolution, a grouped
one, is what libraries have a kernel for; XLA calls it batch groups.

TPUs take a member that is alone on its chip by products of shifted images. As a
convolution its kernel's gradient has a window as large as the image, which the
compiler for TPUs works on for minutes where an image has one channel.
"""

import functools

import jax
from jax import lax
import jax.numpy as jnp
from jaxtyping import Array, Float

from medad_jax.nets.ops import library


def conv2d(
  x: Float[Array, "b h w i"],
  kernel: Float[Array, "p q i o"],
  stride: int,
  padding: int,
) -> Float[Array, "b y x o"]:
  """Convolution with zero padding on all four sides."""
  # Gradients are traced after the scope has ended that states it.
  precision = jax.config.jax_default_matmul_precision
  return _conv2d(x, kernel, (stride, padding, 1, precision))


@functools.partial(jax.custom_vjp, nondiff_argnums=(2,))
def _conv2d(x, kernel, sizes):
  return library.conv2d(x, kernel, *sizes)


def _forward(x, kernel, sizes):
  return _conv2d(x, kernel, sizes), (x, kernel)


def _backward(sizes, kept, dy):
  x, kernel = kept
  turned = jax.linear_transpose(lambda x: library.conv2d(x, kernel, *sizes), x)
  return *turned(dy), _kernel_gradient(x, dy, (kernel.shape, *sizes))


_conv2d.defvjp(_forward, _backward)


# Members' rules have no gradient, which a gradient penalty asks for.
@functools.partial(jax.custom_vjp, nondiff_argnums=(2,))
def _kernel_gradient(x, dy, sizes):
  return _of_members(sizes)(x, dy)


def _gradient_forward(x, dy, sizes):
  return _kernel_gradient(x, dy, sizes), (x, dy)


def _gradient_backward(sizes, kept, cotangent):
  return jax.vjp(functools.partial(_plain, sizes=sizes), *kept)[1](cotangent)


_kernel_gradient.defvjp(_gradient_forward, _gradient_backward)


def _plain(x, dy, sizes, groups=1):
  """The kernel's gradient, of so many members side by side in the channels."""
  default = functools.partial(_transposed, sizes=sizes, groups=groups)
  # Groups and strides are compiled for a TPU soon enough.
  if groups > 1 or sizes[1] > 1:
    return default(x, dy)
  shifted = functools.partial(_shifted, sizes=sizes)
  return lax.platform_dependent(x, dy, tpu=shifted, default=default)


def _shifted(x, dy, sizes):
  """The gradient of one member's kernel of stride 1, a product for each tap."""
  (p, q, _, _), _, padding, _, precision = sizes
  sides = ((padding, padding, 0),) * 2
  x = lax.pad(x, x.dtype.type(0), ((0, 0, 0), *sides, (0, 0, 0)))
  _, h, w, _ = dy.shape
  taps = [
    jnp.einsum(
      "bhwi,bhwo->io", x[:, r : r + h, c : c + w], dy, precision=precision
    )
    for r in range(p)
    for c in range(q)
  ]
  return jnp.stack(taps).reshape(p, q, *taps[0].shape)


def _transposed(x, dy, sizes, groups):
  """The gradient as XLA has it for the convolution of all members."""
  (p, q, i, o), stride, padding, _, precision = sizes
  # The convolution is linear in its kernel, whose values are not needed.
  kernel = jax.ShapeDtypeStruct((p, q, i, groups * o), x.dtype)
  sizes = stride, padding, groups, precision
  turned = jax.linear_transpose(lambda k: library.conv2d(x, k, *sizes), kernel)
  return turned(dy)[0]


@functools.cache
def _of_members(sizes):
  """The gradient of one member, and what `vmap` makes of it."""
  function = jax.custom_batching.custom_vmap(
    functools.partial(_plain, sizes=sizes)
  )

  @function.def_vmap
  def rule(members, batched, x, dy):
    if not all(batched):
      # One image or one slope for all members: their channels are no groups.
      axes = [0 if one else None for one in batched]
      return jax.vmap(functools.partial(_plain, sizes=sizes), axes)(x, dy), True
    found = _plain(_beside(x), _beside(dy), sizes, members)
    p, q, i, _ = found.shape
    found = found.reshape(p, q, i, members, -1)
    return jnp.moveaxis(found, 3, 0), True

  return function


def _beside(x):
  """Members' images [k b h w c] with their channels side by side."""
  x = jnp.moveaxis(x, 0, 3)
  return x.reshape(*x.shape[:3], -1)
