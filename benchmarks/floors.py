"""Distances of each phase from the least time that its work can take.

  python -m benchmarks.floors
  python -m benchmarks.floors --members=4 --batch=8 --size=32 --steps=2

A step has two floors: its operations over the rate of a large matrix product on
this device, and the bytes that must move over the bandwidth of a large copy
(y = y / 2 + x). Both are measured here, in turns with the phases, and the ratio
to the larger one is formed turn by turn. One device is measured: where there
are several, let jax see one of them.

Operations are XLA's count (`benchmarks/programs.py`). The bytes that must move,
whatever a compiler does:
  states       parameters, running statistics and optimizer, read and written;
               of frozen teachers and in an evaluation no optimizer, only read
  images       uint8, once for every member that draws its own
  activations  what each convolution and dense layer puts out, written once and
               read once; normalizations, rectifiers and discrepancy maps cost
               nothing, as they can be made while a layer writes or reads
  scores       and maps of an evaluation, written
Nothing stays in a cache from one layer to the next: small batches can take less
time than that. XLA's own count of bytes is beside it, and is no floor: it has
what every fusion reads and writes, which is the compiler's choice.

The rate of float32 is that of JAX's default, TensorFloat-32 on NVIDIA's.
On accelerators full float32 and bfloat16 are printed, too. `--precision` is
that of the nets, and chooses the rate.
"""

import argparse
from collections.abc import Callable, Mapping, Sequence
import dataclasses
import statistics
import sys
from typing import Any, NamedTuple

from flax import linen as nn
import jax
import jax.numpy as jnp

from benchmarks import programs, turns
from medad_jax.data import resident
from medad_jax.methods import ddad
from medad_jax.nets import blocks
from medad_jax.types import Context, Phase, UserError

_COPY = "copy"
_LAUNCHES = 4  # products or copies a turn: a device need not wait for the host
_LAYERS = (
  blocks.Conv4x4s2,
  blocks.ConvTranspose4x4s2,
  blocks.Conv3x3,
  blocks.Dense,
)


class Probe(NamedTuple):
  """A call of one turn, and the operations or bytes that it takes."""

  call: Callable[[int], Any]
  amount: float


class Work(NamedTuple):
  """A phase's step.

  Attributes:
    call: takes so many steps.
    steps: of a call.
    flops: operations of a step.
    least: bytes that must move in a step.
    accessed: bytes of a step as XLA counts them.
  """

  call: Callable[[int], Any]
  steps: int
  flops: float
  least: float
  accessed: float


def main(argv: list[str] | None = None) -> int:
  """Prints the device's rates, then a line a phase."""
  args = _parse(argv)
  try:
    work = phases(args)
  except UserError as error:
    print(f"benchmarks.floors: {error}", file=sys.stderr)
    return 2
  print(
    f"{args.members} members, batches of {args.batch} (refinement:"
    f" {args.refine_batch}) images of {args.size}x{args.size} on"
    f" {turns.machine()}\n"
  )
  probes = rates(args.precision)
  calls = {name: each.call for name, each in (probes | work).items()}
  times = turns.alternate(calls, args.repeats)
  for name, probe in probes.items():
    unit = "GB/s" if name == _COPY else "GFLOP/s"
    print(f"{name:13} {probe.amount / min(times[name]) / 1e9:10.1f} {unit}")
  print_phases(work, probes, times, args.precision)
  return 0


def phases(args: argparse.Namespace) -> dict[str, Work]:
  """The work of a run of DDAD-ASR after its start."""
  method = programs.rsna(
    args.members, args.batch, args.refine_batch, args.precision
  )
  both, refine = method.phases()
  unknown = dataclasses.replace(both, pools=both.pools[: args.members // 2])
  return {
    f"{both.members} members": training(args, method, both),
    f"{unknown.members} UDM": training(args, method, unknown),
    "refinement": training(args, method, refine, (both,)),
    "evaluation": evaluation(args, method),
  }


def training(
  args: argparse.Namespace,
  method: ddad.Method,
  phase: Phase,
  before: tuple[Phase, ...] = (),
) -> Work:
  """A phase's step with all its members and teachers."""
  here = tuple(jax.devices()[:1])
  program = programs.Program(phase, args.size, args.steps, before, here)
  counts = programs.read(program.on_host().compiled)
  states, _, chunk, frozen, constant = program.shapes()
  batch = _first(jax.eval_shape(resident.Resident.batch, constant, chunk), 2)

  def loss(state, batch, frozen):
    context = Context(state.key, state.step, state.step, frozen=frozen)
    return phase.loss(state.params, state.extra, batch, context)

  layers = phase.members * layer_bytes(loss, _first(states), batch, frozen)
  layers += _more_teachers(method, frozen, batch)
  drawn = sum(chunk[name].size for name in {"id", "source"} & chunk.keys())
  images = drawn * args.size**2 // args.steps
  least = 2 * _bytes(states) + _bytes(frozen) + images + 2 * layers
  return Work(program.start(), args.steps, counts.flops, least, counts.bytes)


def evaluation(args: argparse.Namespace, method: ddad.Method) -> Work:
  """A batch's scores and maps, and their way to the host."""
  program = programs.Evaluation(method, args.size, args.batch)
  counts = programs.read(program.compiled)
  states, images = program.shapes()
  batch = {"image": jax.eval_shape(resident.normalize, images)}
  teachers = {"ensemble": states["ensemble"]}
  layers = layer_bytes(program.score, states, images)
  layers += _more_teachers(method, teachers, batch)
  scores = jax.eval_shape(program.score, states, images)
  least = _bytes((states, images, scores)) + 2 * layers
  return Work(
    program.start(args.steps), args.steps, counts.flops, least, counts.bytes
  )


def layer_bytes(function: Callable[..., Any], *shapes: Any) -> int:
  """Bytes of what the layers put out in a call, each of a name once.

  Args:
    function: is traced, not run; what is vmapped inside counts as one.
    shapes: of its arguments.
  """
  found = {}

  def note(call, args, kwargs, context):
    out = call(*args, **kwargs)
    if isinstance(context.module, _LAYERS):
      found[context.module.path] = out.size * out.dtype.itemsize
    return out

  with nn.intercept_methods(note):
    jax.eval_shape(function, *shapes)
  return sum(found.values())


def rates(precision: str) -> dict[str, Probe]:
  """Programs that measure the device: products of that precision, a copy."""
  large = jax.default_backend() != "cpu"
  side, length = (8192, 2**28) if large else (2048, 2**26)
  probes = {precision: _product(side, precision, None)}
  if large:
    highest = jax.lax.Precision.HIGHEST
    probes |= {name: _product(side, name, None) for name in programs.PRECISIONS}
    probes["full float32"] = _product(side, "float32", highest)
  return probes | {_COPY: _copy(length)}


def print_phases(
  work: Mapping[str, Work],
  probes: Mapping[str, Probe],
  times: Mapping[str, Sequence[float]],
  product: str,
) -> None:
  """Prints each phase's work, its floors, its time, and the ratio."""
  rows = []
  for name, part in work.items():
    by_flops = _scaled(times[product], part.flops / probes[product].amount)
    by_bytes = _scaled(times[_COPY], part.least / probes[_COPY].amount)
    taken = _scaled(times[name], 1 / part.steps)
    seconds = (by_flops, by_bytes, taken)
    rows.append(
      (
        name,
        f"{part.flops / 1e9:.3f}",
        f"{part.least / 1e6:.1f}",
        f"{part.accessed / 1e6:.1f}",
        *(f"{1e3 * statistics.median(each):.3f}" for each in seconds),
        turns.ratio(taken, list(map(max, by_flops, by_bytes))),
      )
    )
  header = (
    "a step of",
    "GFLOP",
    "least MB",
    "MB by XLA",
    "ms of GFLOP",
    "ms of MB",
    "ms taken",
    "times the larger",
  )
  print(f"\n{programs.table(header, rows)}")


def _more_teachers(method, frozen, batch) -> int:
  """Bytes of the layers of all teachers but one, which `layer_bytes` found."""
  return sum(
    (state.step.size - 1)
    * layer_bytes(method.predict, {name: _first(state)}, batch)
    for name, state in frozen.items()
  )


def _product(side: int, dtype: str, precision: Any) -> Probe:
  """Products of square matrices, one after another."""
  multiply = jax.jit(lambda x, y: jnp.matmul(x, y, precision=precision))
  # Not of zeros, which cost an accelerator less power; products stay near 1.
  matrix = jax.random.normal(jax.random.key(0), (side, side)) / side**0.5
  matrix = matrix.astype(dtype)

  def call(_: int) -> jax.Array:
    product = matrix
    for _ in range(_LAUNCHES):
      product = multiply(product, matrix)
    return product

  return Probe(call, 2.0 * _LAUNCHES * side**3)


def _copy(length: int) -> Probe:
  """Sums of two long vectors, in the place of the first."""
  add = jax.jit(lambda y, x: y / 2 + x, donate_argnums=0)
  given, total = jnp.ones(length), jnp.ones(length)

  def call(_: int) -> jax.Array:
    nonlocal total
    for _ in range(_LAUNCHES):
      total = add(total, given)
    return total

  return Probe(call, 3.0 * _LAUNCHES * given.nbytes)


def _first(tree: Any, axes: int = 1) -> Any:
  """Shapes without their first axes."""
  return jax.tree.map(
    lambda x: jax.ShapeDtypeStruct(x.shape[axes:], x.dtype), tree
  )


def _bytes(tree: Any) -> int:
  return sum(x.size * x.dtype.itemsize for x in jax.tree.leaves(tree))


def _scaled(seconds: Sequence[float], factor: float) -> list[float]:
  return [factor * x for x in seconds]


def _parse(argv: list[str] | None) -> argparse.Namespace:
  parser = argparse.ArgumentParser(
    prog="python -m benchmarks.floors", description=__doc__.splitlines()[0]
  )
  for name, value, what in (
    ("members", 6, "of both ensembles"),
    ("batch", 64, "images of a step, and of a call of the evaluation"),
    ("refine-batch", 8, "images of a step of the refinement"),
    ("size", 64, "pixels"),
    ("steps", programs.steps_per_call(), "of a call"),
    ("repeats", 5, "turns"),
  ):
    parser.add_argument(
      f"--{name}",
      type=programs.positive,
      default=value,
      help=f"{what} [{value}]",
    )
  parser.add_argument(
    "--precision",
    choices=programs.PRECISIONS,
    default="float32",
    help="of the nets [float32]",
  )
  return parser.parse_args(argv)


if __name__ == "__main__":
  sys.exit(main())
