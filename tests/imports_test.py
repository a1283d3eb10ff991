"""Imports point one way, packages stay in their file, code stays short.

The rules are those of docs/architecture.md, checked by reading the sources.
"""

import ast
from collections.abc import Iterator
from pathlib import Path
import subprocess
import sys

import pytest

ROOT = Path(__file__).parents[1]
FOLDERS = ("medad_jax", "configs", "data_builders", "launch", "benchmarks")

# A module may import its own layer's folder and all layers before it.
LAYERS = (
  # Taken along by model files: they import nothing of the package but this.
  {"medad_jax/pictures"},
  {"medad_jax/exported"},
  {"medad_jax/ranges"},
  {"medad_jax/training"},
  {"medad_jax/axis"},
  {"medad_jax/types"},
  {
    "medad_jax/rng",
    "medad_jax/steps",
    "medad_jax/losses",
    "medad_jax/interpolation",
    "medad_jax/files",
    "medad_jax/fetch",
  },
  {"medad_jax/shipped", "medad_jax/published"},
  {"medad_jax/nets", "medad_jax/augment", "medad_jax/scoring"},
  {"medad_jax/weights"},
  {"medad_jax/methods"},
  {"medad_jax/data", "medad_jax/report", "medad_jax/mirrors"},
  {"medad_jax/engine", "data_builders"},
  {
    "medad_jax/main",
    "medad_jax/evaluate",
    "medad_jax/predict",
    "medad_jax/export",
    "medad_jax/doctor",
    "medad_jax/detector",
    "medad_jax/command",
    "medad_jax/synthesize",
    "medad_jax/search",
    "medad_jax/compare",
    "medad_jax/by_step",
    "medad_jax/reproduce",
    "medad_jax/import_torch",
    "medad_jax/export_torch",
    "medad_jax/build",
    "medad_jax/convert_dicom",
    "benchmarks",
    "launch",
  },
)
# Inside the engine, too: what a module may import stands before it.
ENGINE = (
  {"processes", "environment", "tensorboard", "settings", "progress"},
  {"fields", "parallel", "writers", "cli", "clock", "arrays", "synthetic"},
  {"opening"},
  {"config", "devices"},
  {"space", "selection", "final_config", "quick", "outside"},
  {"checkpoint", "cores", "workdir"},
  {"ending"},
  {"members"},
  {"program", "batched"},
  {"run", "calls"},
  {"fit", "validation", "reuse"},
  {"train", "scorer"},
  {"trained", "comparison"},
  {"latents", "kept", "costs", "compared", "table_runs"},
  {"measuring"},
  {"calibration", "feasible", "fold_data"},
  {"alarms"},
  {"score_table"},
  {"evaluation", "exporting", "material"},
  {"experiment", "sheet", "prediction", "meter", "by_step"},
  {"search", "reproduction", "torch_states", "outcome", "model"},
  {"importing"},
  {"certificate"},
)
# And inside the folder of weights.
WEIGHTS = (
  {"tensors", "conversion"},
  {"pickled", "safetensors_file", "names", "residual_names", "gan_names"},
  {"layout"},
  {"lite_names", "lpips_names", "vit_names"},
  {"pth", "catalog"},
  {"tensor_file"},
  {"net_file"},
  {"state_file"},
  {"pretrained"},
  {"importer"},
  {"__main__"},
)
# A method's tables of PyTorch's names are part of it, readers of files are not.
NAMES = {
  f"medad_jax/weights/{name}"
  for name in ("conversion", "layout", "names", "residual_names", "gan_names")
}
# A method is read alone. These take another method; what several share
# stands in a module whose name begins with an underscore.
METHODS_OF_METHODS = {"ddad", "maddr"}

CORE = {"numpy", "jax", "flax", "optax", "jaxtyping"}
# Everything else has its files, and the rest of the package does without it.
OWNERS = {
  "PIL": {
    "medad_jax/data/alike",
    "medad_jax/data/decode",
    "medad_jax/data/preparation",
    "medad_jax/data/scans",
    "medad_jax/report/overlay",
    "medad_jax/data/phantom/scan",
  },
  "pydicom": {"medad_jax/data/dicom", "medad_jax/report/capture"},
  "absl": {
    "medad_jax/data/stream",  # its flags, which grain's processes ask
    "medad_jax/main",
    "medad_jax/predict",
    "medad_jax/evaluate",
    "medad_jax/export",
    "medad_jax/synthesize",
    "medad_jax/search",
    "medad_jax/reproduce",
    "medad_jax/import_torch",
    "medad_jax/export_torch",
    "medad_jax/engine/cli",
  },
  "joblib": {"medad_jax/data/workers"},
  "grain": {"medad_jax/data/stream"},
  "matplotlib": {"medad_jax/report/figures"},
  "ml_collections": {"medad_jax/engine/cli"},
  "orbax": {"medad_jax/engine/checkpoint"},
  "safetensors": {"medad_jax/weights/safetensors_file"},
  "scipy": {
    "medad_jax/scoring/conformal",
    "medad_jax/scoring/detection",
    "medad_jax/scoring/fidelity",
    "medad_jax/scoring/intervals",
    "medad_jax/scoring/operating",
    "medad_jax/scoring/pixel_metrics",
    "medad_jax/scoring/verdicts",
  },
  "sklearn": {
    "medad_jax/detector",
    "medad_jax/scoring/density",
    "medad_jax/scoring/embedding",
    "medad_jax/scoring/forest",
    "medad_jax/scoring/metrics",
  },
  "skimage": {"medad_jax/augment/anatomy"},
  "tensorboardX": {"medad_jax/engine/tensorboard"},
  "tensorflow_datasets": {"medad_jax/data/decode"},
  "tqdm": {
    "medad_jax/data/decode",
    "medad_jax/data/folder",
    "medad_jax/data/phantom/slices",
    "medad_jax/engine/progress",
    "medad_jax/engine/writers",
  },
}
# One folder computes convolutions and products for all networks; nothing else
# sees inside it, and only its own root sees the CPU's forms.
OPS = "medad_jax/nets/ops"
PRODUCTS = {"Conv", "ConvTranspose", "Dense", "DenseGeneral", "Einsum"} | {
  "conv",
  "conv_general_dilated",
  "conv_transpose",
  "conv_with_general_padding",
  "dot",
  "dot_general",
}
DEVICES = {"pmap", "shard_map", "Mesh", "PartitionSpec"}

# flax and jax bring these themselves.
WITH_FLAX = {"absl", "orbax", "scipy"}


def sources() -> list[Path]:
  found = [p for folder in FOLDERS for p in (ROOT / folder).rglob("*.py")]
  return sorted(p.relative_to(ROOT) for p in found)


def problems(path: Path, source: str) -> list[str]:
  """Breaches of the rules by a file."""
  module = path.with_suffix("").as_posix().removesuffix("/__init__")
  tree = ast.parse(source)
  return [
    *_import_problems(module, tree),
    *_device_problems(module, tree),
    *_product_problems(module, tree),
    *_length_problems(module, tree, source),
  ]


def _import_problems(module: str, tree: ast.AST) -> Iterator[str]:
  for name in _imported(tree):
    package = name.split("/")[0]
    if name.startswith("."):
      yield f"{name} is imported relatively"
    elif package in FOLDERS:
      if not _may_import(module, name):
        yield f"{module} imports {name}"
    elif module.startswith("medad_jax") and not _stands_here(module, package):
      yield f"{package} is not for {module}"


def _imported(tree: ast.AST) -> Iterator[str]:
  """Modules, as paths; `from a import b` may name the module a/b."""
  for node in ast.walk(tree):
    if isinstance(node, ast.Import):
      yield from (alias.name.replace(".", "/") for alias in node.names)
    elif isinstance(node, ast.ImportFrom):
      base = "." * node.level + (node.module or "").replace(".", "/")
      for alias in node.names:
        inner = f"{base}/{alias.name}"
        is_module = (ROOT / f"{inner}.py").exists() or (ROOT / inner).is_dir()
        yield inner if is_module else base


def _may_import(module: str, name: str) -> bool:
  # What may stand elsewhere in a wheel is found by `shipped` instead.
  if module.startswith("medad_jax") and not name.startswith("medad_jax"):
    return False
  if module.split("/")[0] == "configs":
    # Configurations are made from the dataclasses, and then changed.
    return name.startswith("configs") or name == "medad_jax/engine/config"
  if name == "medad_jax":
    return module.startswith("medad_jax")
  if not _sees(module, name):
    return False
  if _layer(module) != _layer(name):
    return _rank(LAYERS, _layer(name)) < _rank(LAYERS, _layer(module))
  mine, other = module.split("/")[-1], name.split("/")[-1]
  if _layer(module) == "medad_jax/methods":
    return mine in METHODS_OF_METHODS or other.startswith("_")
  for layer, inside in (("engine", ENGINE), ("weights", WEIGHTS)):
    if _layer(module) == f"medad_jax/{layer}":
      return _rank(inside, other) < _rank(inside, mine)
  return True


def _sees(module: str, name: str) -> bool:
  """True if the module may look so far into the operations' folder."""
  if name.startswith(f"{OPS}/cpu"):
    return module == OPS or module.startswith(f"{OPS}/cpu")
  if _layer(module) == "medad_jax/methods" and "/weights" in name:
    return name in NAMES
  if name.startswith(f"{OPS}/"):
    return module == OPS or module.startswith(f"{OPS}/")
  return True


def _layer(module: str) -> str:
  depth = 2 if module.startswith("medad_jax") else 1
  return "/".join(module.split("/")[:depth])


def _rank(layers: tuple[set[str], ...], name: str) -> int:
  """The place of the layer; a name that is in none imports and is nothing."""
  return next((i for i, layer in enumerate(layers) if name in layer), -1)


def _stands_here(module: str, package: str) -> bool:
  if package == "torch":  # the optional extra has one folder
    return module.startswith("medad_jax/mirrors/")
  if package in CORE or package in sys.stdlib_module_names:
    return True
  return module in OWNERS.get(package, set())


def _device_problems(module: str, tree: ast.AST) -> Iterator[str]:
  if module == "medad_jax/engine/parallel":
    return
  for node in ast.walk(tree):
    for field in ("id", "attr", "name"):
      if getattr(node, field, None) in DEVICES:
        yield f"{getattr(node, field)} belongs in engine/parallel.py"


def _product_problems(module: str, tree: ast.AST) -> Iterator[str]:
  if not module.startswith("medad_jax/nets") or module.startswith(OPS):
    return
  for node in ast.walk(tree):
    if isinstance(node, ast.MatMult):
      yield f"a product of {module} belongs to nets/ops"
    if isinstance(node, ast.Attribute) and node.attr in PRODUCTS:
      if getattr(node.value, "id", None) in {"nn", "lax"}:
        yield f"{node.attr} of {module} belongs to nets/ops"


def _length_problems(module: str, tree: ast.AST, source: str) -> Iterator[str]:
  if module.split("/")[-1] == "utils":
    yield "a file named utils says nothing of what is in it"
  if len(source.splitlines()) >= 400:
    yield f"{module} has 400 lines or more"
  for node in ast.walk(tree):
    if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
      length = node.end_lineno - node.lineno + 1
      if length > 60:
        yield f"{node.name} has {length} lines"


@pytest.mark.parametrize("path", sources(), ids=str)
def test_file_follows_the_rules(path):
  assert problems(path, (ROOT / path).read_text()) == []


def test_every_module_has_its_layer():
  """A new folder or root module must take its place in LAYERS."""
  known = set().union(*LAYERS) | {"medad_jax", "configs"}
  modules = (p.with_suffix("").as_posix() for p in sources())
  layers = {_layer(m.removesuffix("/__init__")) for m in modules}
  assert layers <= known


@pytest.mark.parametrize(
  ("path", "line"),
  [
    ("medad_jax/methods/new.py", "from medad_jax.engine import train"),
    ("medad_jax/methods/new.py", "import medad_jax.engine.train"),
    ("medad_jax/methods/new.py", "from medad_jax.methods import ae"),
    ("medad_jax/methods/new.py", "from medad_jax.methods.ae import Method"),
    ("medad_jax/methods/new.py", "def f():\n  from medad_jax import main"),
    ("medad_jax/nets/new.py", "from medad_jax.scoring import discrepancy"),
    ("medad_jax/nets/new.py", "from . import blocks"),
    ("medad_jax/nets/new.py", "from medad_jax.nets.ops import library"),
    ("medad_jax/nets/new.py", "from medad_jax.nets.ops.cpu import strided"),
    ("medad_jax/nets/ops/library.py", "from medad_jax.nets.ops import cpu"),
    ("medad_jax/nets/new.py", "y = x @ kernel"),
    ("medad_jax/nets/new.py", "y = nn.Conv(3, (3, 3))(x)"),
    ("medad_jax/methods/new.py", "import medad_jax.nets.ops.cpu.products"),
    ("medad_jax/types.py", "from medad_jax import rng"),
    ("medad_jax/report/new.py", "from medad_jax.data import spec"),
    ("medad_jax/engine/train.py", "from medad_jax.engine import evaluation"),
    ("medad_jax/engine/parallel.py", "from medad_jax.engine import writers"),
    ("medad_jax/engine/train.py", "from data_builders import build"),
    ("medad_jax/weights/names.py", "from medad_jax.engine import members"),
    ("medad_jax/weights/names.py", "from medad_jax.weights import catalog"),
    ("medad_jax/methods/new.py", "from medad_jax.weights import pretrained"),
    ("medad_jax/main.py", "from data_builders import build"),
    ("medad_jax/synthesize.py", "def f():\n  from configs import ssl"),
    ("medad_jax/new.py", "import benchmarks.ddad"),
    ("configs/new.py", "from medad_jax import types"),
    ("medad_jax/methods/new.py", "import orbax.checkpoint as ocp"),
    ("medad_jax/methods/new.py", "def f():\n  import torch"),
    ("medad_jax/engine/train.py", "from ml_collections import ConfigDict"),
    ("medad_jax/engine/program.py", "from jax.sharding import Mesh"),
    ("medad_jax/engine/program.py", "import jax\nf = jax.pmap(len)"),
    ("benchmarks/new.py", "from jax import shard_map"),
    ("medad_jax/nets/utils.py", ""),
    ("medad_jax/nets/new.py", "\n" * 400),
    ("medad_jax/nets/new.py", "def f():\n" + "  a = 1\n" * 60),
    ("data_builders/new.py", "async def f():\n" + "  a = 1\n" * 60),
  ],
)
def test_breaking_a_rule_is_found(path, line):
  assert len(problems(Path(path), line)) == 1


@pytest.mark.parametrize(
  ("path", "line"),
  [
    ("medad_jax/methods/ddad.py", "from medad_jax.methods import ae"),
    (
      "medad_jax/methods/ae.py",
      "from medad_jax.methods import _reconstruction",
    ),
    ("medad_jax/methods/new.py", "from medad_jax import losses, rng"),
    ("medad_jax/methods/new.py", "from medad_jax.weights import names"),
    ("medad_jax/mirrors/new.py", "import torch"),
    ("medad_jax/nets/new.py", "from medad_jax.nets import ops"),
    ("medad_jax/nets/ops/__init__.py", "from medad_jax.nets.ops import cpu"),
    ("medad_jax/nets/ops/cpu/new.py", "from medad_jax.nets.ops import library"),
    ("medad_jax/engine/train.py", "from medad_jax.engine import writers"),
    ("medad_jax/engine/checkpoint.py", "import orbax.checkpoint as ocp"),
    ("medad_jax/data/stream.py", "def f():\n  import grain"),
    ("medad_jax/engine/parallel.py", "from jax.sharding import Mesh"),
    ("medad_jax/engine/config.py", "MODES = ('jit', 'pmap')"),
    ("medad_jax/nets/new.py", "def f():\n" + "  a = 1\n" * 59),
    ("benchmarks/new.py", "import torch"),
  ],
)
def test_what_is_allowed_is_not_found(path, line):
  assert problems(Path(path), line) == []


def test_training_and_evaluation_load_with_the_core_packages_alone():
  absent = sorted({*OWNERS, "clu", "sklearn", "torch"} - WITH_FLAX)
  code = (
    "import sys\n"
    f"sys.modules.update(dict.fromkeys({absent}))\n"
    "from medad_jax.engine import experiment\n"
    "from medad_jax.methods import ddad\n"
  )
  subprocess.run([sys.executable, "-c", code], check=True, cwd=ROOT)
