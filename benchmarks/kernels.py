"""Kernels of training steps compiled for an NVIDIA H100 that is not there.

  pip install "jax[cuda13]"   # for its compiler; no device is needed
  python -m benchmarks.kernels --config=configs/ra.py:phantom \
      --config.model.weights=random

Each phase is compiled on the host for one H100, and nothing is run. A kernel is
what a step starts on the device. Convolutions are the library's, of which none
is tried out, so that a real device may choose others. XLA does not count the
operations of such a program: those of `benchmarks.scaling` are of the host's.
Views of the images (data.augment) are left out.
"""

from collections import Counter
import os
import re

import jax
from jax.experimental import topologies

from benchmarks import scaling, turns
from medad_jax.engine import cli
from medad_jax.engine import config as configuration
from medad_jax.types import Phase, UserError

# What XLA must know of an H100 SXM, by its own names.
_H100 = """
gpu_device_info {
  threads_per_block_limit: 1024 threads_per_warp: 32
  shared_memory_per_block: 49152 shared_memory_per_core: 233472
  threads_per_core_limit: 2048 core_count: 132 fpus_per_core: 128
  block_dim_limit_x: 2147483647 block_dim_limit_y: 65535
  block_dim_limit_z: 65535 memory_bandwidth: 3352320000000
  l2_cache_size: 52428800 clock_rate_ghz: 1.98 device_memory_size: 84929347584
  shared_memory_per_block_optin: 232448 cuda_compute_capability { major: 9 }
  registers_per_core_limit: 65536 registers_per_block_limit: 65536
}
platform_name: "CUDA"
dnn_version_info { major: 9 minor: 10 }
runtime_version { major: 13 minor: 0 }
device_description_str: "NVIDIA H100 80GB HBM3"
"""
# Columns of the table, and the kinds of instructions that each counts.
KINDS = {
  "convolutions": (
    "__cudnn$convForward",
    "__cudnn$convBackwardInput",
    "__cudnn$convBackwardFilter",
    "__cudnn$convBiasActivationForward",
  ),
  "products": ("fusion Custom", "__cublas$gemm", "__cublas$lt$matmul"),
  "reductions": ("fusion Input",),
  "loops": ("fusion Loop",),
  "copies": ("copy",),
}
# Instructions that start nothing on the device.
_FREE = ("parameter", "get-tuple-element", "tuple", "bitcast", "constant")
_ENTRY = re.compile(r"^ENTRY .*?^}", re.MULTILINE | re.DOTALL)
# A result of several arrays is in brackets, with comments inside.
_INSTRUCTION = re.compile(r"^ .* = (?:\(.*?\)|\S+) ([a-z][a-z-]*)\(%?")
_LIBRARY = re.compile(r'custom_call_target="([^"]+)"')
_FUSION = re.compile(r"kind=k(\w+)")


def count(text: str) -> dict[str, int]:
  """Counts of a compiled program's kernels by `KINDS`, and of "others".

  Args:
    text: of the program, as XLA prints it. Bodies of loops are not looked at.
  """
  (entry,) = _ENTRY.findall(text)
  found = Counter(filter(None, map(_kind, entry.splitlines()[1:])))
  counts = {
    name: sum(found.pop(kind, 0) for kind in kinds)
    for name, kinds in KINDS.items()
  }
  return {**counts, "others": found.total()}


def _kind(line: str) -> str | None:
  found = _INSTRUCTION.match(line)
  if found is None or found[1] in _FREE:
    return None
  if library := _LIBRARY.search(line):
    return library[1]
  fusion = _FUSION.search(line)
  return f"fusion {fusion[1]}" if fusion else found[1]


def h100() -> jax.Device:
  """An H100 to compile for.

  Raises:
    UserError: there is no compiler for it.
  """
  try:
    found = topologies.get_topology_desc(
      platform="cuda", target_config=_H100, topology="1x1x1"
    )
  except Exception as error:  # a missing plugin has many forms
    raise UserError(
      "there is no compiler for GPUs; run pip install 'jax[cuda13]' (of this"
      " jax's version), on a machine with or without one."
    ) from error
  return found.devices[0]


def main(config: configuration.Config) -> None:
  """Prints a line of each phase of a configuration's method."""
  side = configuration.settings_of(config).data.image_size
  stages = configuration.build_method(config).phases()
  phases = [stage for stage in stages if isinstance(stage, Phase)]
  rows, device = [], h100()
  for phase in phases:
    before = tuple(one for one in phases if one.name in phase.reads)
    program = scaling.Program(phase, side, before=before, devices=(device,))
    counts = count(program.compiled.as_text())
    memory = program.compiled.memory_analysis()
    temporary = f"{memory.temp_size_in_bytes / 1e6:.0f}"
    rows.append((phase.name, sum(counts.values()), *counts.values(), temporary))
  header = ("phase", "kernels", *KINDS, "others", "MB temporary")
  print(turns.table(header, rows))


if __name__ == "__main__":
  # Before the first device is asked for, which reads them.
  os.environ.setdefault("JAX_SKIP_CUDA_CONSTRAINTS_CHECK", "1")
  given = os.environ.get("XLA_FLAGS", "")
  os.environ["XLA_FLAGS"] = f"{given} --xla_gpu_autotune_level=0"
  jax.config.update("jax_platforms", "cpu")
  # Such a program cannot be read back from the cache without a device.
  os.environ["JAX_COMPILATION_CACHE_DIR"] = ""
  with cli.sentences():  # it reads the command line at once
    flag = cli.define_config()
  cli.run(lambda: main(flag.value.to_dict()))
