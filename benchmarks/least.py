"""Bytes that a program must move at least, whatever a compiler makes of it.

  states       read once and, of what trains, written once
  images       read once, for each member that draws its own
  activations  what each product and convolution puts out on the way forward,
               written once and read once: normalizations, rectifiers and maps
               cost nothing, as they can be made while a layer writes or reads
  scores       and maps, written

Gradients of activations cost nothing either, so no program reaches it.
"""

from typing import Any

import jax

_PRODUCTS = {"dot_general", "conv_general_dilated"}


def activations(jaxpr: Any) -> int:
  """Bytes of the outputs of products, but for those of gradients."""
  return _of_products(jaxpr, False)


def bytes_of(tree: Any) -> int:
  """Bytes of arrays, or of shapes."""
  return sum(x.size * x.dtype.itemsize for x in jax.tree.leaves(tree))


def _of_products(jaxpr: Any, backward: bool) -> int:
  total = 0
  for equation in jaxpr.eqns:
    back = backward or "transpose(" in str(equation.source_info.name_stack)
    if equation.primitive.name in _PRODUCTS or _chosen(equation):
      # A product that differs between platforms puts out the same.
      total += 0 if back else _out(equation)
      continue
    times = equation.params.get("length", 1)  # of a loop
    total += times * sum(_of_products(one, back) for one in _inner(equation))
  return total


def _chosen(equation: Any) -> bool:
  """True for a product that is another one on each platform."""
  if equation.primitive.name != "cond":
    return False
  return any(_holds_product(one) for one in _inner(equation))


def _holds_product(jaxpr: Any) -> bool:
  return any(
    equation.primitive.name in _PRODUCTS
    or any(_holds_product(one) for one in _inner(equation))
    for equation in jaxpr.eqns
  )


def _out(equation: Any) -> int:
  return bytes_of([variable.aval for variable in equation.outvars])


def _inner(equation: Any):
  """The programs inside of an equation."""
  for value in equation.params.values():
    for one in value if isinstance(value, tuple | list) else (value,):
      one = getattr(one, "jaxpr", one)
      if hasattr(one, "eqns"):
        yield one
