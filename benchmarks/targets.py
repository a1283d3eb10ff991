"""Counts of training steps compiled for an accelerator that is not there.

  pip install "jax[cuda13]"   # or "jax[tpu]": the compiler; no device is needed
  python -m benchmarks.targets --config=configs/ra.py:ixi \
      --config.model.weights=random --target=h100

Each phase is compiled for one device of the target by the host's CPU, and
nothing is run. Kernels are what the program starts on the device, by kind;
products are those handed to a library (GPU) or to the matrix unit (TPU). On a
GPU convolutions are not tuned, which may choose another of the library's. XLA
counts the operations of a TPU's program, and not those of a GPU's libraries.
Views of the images (data.augment) are left out.
"""

from collections import Counter
import os
import re

from absl import flags
import jax
from jax.experimental import topologies

from benchmarks import scaling, turns
from medad_jax.engine import cli
from medad_jax.engine import config as configuration
from medad_jax.types import Phase, UserError

# What XLA must know of NVIDIA's H100 SXM.
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
TARGETS = ("h100", "v5e")

with cli.sentences():  # it reads the command line at once
  CONFIG = cli.define_config()
TARGET = flags.DEFINE_enum("target", TARGETS[0], TARGETS, "The accelerator.")

# Instructions of a compiled program that start a kernel, and custom calls that
# do not.
_KINDS = ("fusion", "custom-call", "convolution", "dot", "copy", "sort")
_ENTRY = re.compile(r"^ENTRY .*?^}", re.MULTILINE | re.DOTALL)
_INSTRUCTION = re.compile(r" = \S+ ([a-z][a-z-]*)\(")


def device(target: str) -> jax.Device:
  """A device of the target to compile for.

  Raises:
    UserError: its compiler is not installed.
  """
  try:
    if target == "h100":
      found = topologies.get_topology_desc(
        platform="cuda", target_config=_H100, topology="1x1x1"
      )
    else:
      found = topologies.get_topology_desc(
        platform="tpu", topology_name="v5e:2x2"
      )
  except Exception as error:  # each plugin has its own
    package = {"h100": "cuda13", "v5e": "tpu"}[target]
    raise UserError(
      f"--target={target} has no compiler here ({str(error)[:200]}); run"
      f" pip install 'jax[{package}]'."
    ) from error
  return found.devices[0]


def kernels(text: str) -> Counter[str]:
  """Counts of a compiled program's kernels by kind, outside of loops' bodies.

  Args:
    text: of the program, as XLA prints it.
  """
  (entry,) = _ENTRY.findall(text)
  counts: Counter[str] = Counter()
  for line in entry.splitlines():
    if found := _INSTRUCTION.search(line):
      counts[_kind(found[1], line)] += 1
  return counts


def _kind(name: str, line: str) -> str:
  if target := re.search(r'custom_call_target="([^"]+)"', line):
    return target[1]
  if name == "fusion" and (kind := re.search(r"kind=k(\w+)", line)):
    return f"fusion, {kind[1].lower()}"
  return name


def main() -> None:
  """Prints a table of all phases."""
  config = CONFIG.value.to_dict()
  settings = configuration.settings_of(config)
  phases = configuration.build_method(config).phases()
  trained = [phase for phase in phases if isinstance(phase, Phase)]
  target = device(TARGET.value)
  for phase in trained:
    program = scaling.Program(
      phase,
      settings.data.image_size,
      before=tuple(one for one in trained if one.name in phase.reads),
      devices=(target,),
    )
    print(phase.name, scaling.read(program.compiled))
    print(program.compiled.as_text())


if __name__ == "__main__":
  os.environ.setdefault("JAX_SKIP_CUDA_CONSTRAINTS_CHECK", "1")
  os.environ.setdefault("TPU_SKIP_MDS_QUERY", "1")
  given = os.environ.get("XLA_FLAGS", "")
  os.environ["XLA_FLAGS"] = f"{given} --xla_gpu_autotune_level=0"
  jax.config.update("jax_platforms", "cpu")
  cli.run(main)
