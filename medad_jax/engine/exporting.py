"""One-file models: a run's scorer as programs for several platforms.

`medad_jax.exported` describes the file and reads it. The programs are the
scorer's own function, lowered for each platform by itself: the convolution door
chooses a platform's form at lowering, so a GPU's program holds no CPU form.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
import contextlib
import hashlib
import io
import json
from pathlib import Path
from typing import Any
import zipfile

import jax
from jax import export as jax_export
import jax.numpy as jnp
import numpy as np

from medad_jax import exported, files
from medad_jax.data import preparation
from medad_jax.engine import alarms, batched, environment, scorer
from medad_jax.engine.trained import Trained
from medad_jax.engine.workdir import Workdir
from medad_jax.report.results import Results
from medad_jax.types import UserError

PLATFORMS = ("cpu", "cuda", "tpu")
_PROBED = 8  # made-up images
_LOADER = ("__init__.py", "exported.py", "pictures.py")
# `python model.medad` runs it.
_MAIN = """import sys

from medad_jax import exported

sys.exit(exported.main(sys.argv))
"""
_EPOCH = (1980, 1, 1, 0, 0, 0)  # of every entry: equal runs give equal files


def export(
  workdir: Path,
  out: Path,
  platforms: Sequence[str] = PLATFORMS,
  batch_size: int | None = None,
) -> exported.Exported:
  """Writes a finished run as one file, and checks what it scores.

  Args:
    workdir: the run's folder, which is only read.
    out: the file; one that is there is replaced once the new one is checked.
    platforms: of `PLATFORMS`, those that the file is for.
    batch_size: images at a time; None for what the run's scorer gives each
      device, which has the scores of `predict` to the last bit.

  Returns:
    The model, loaded from the file.

  Raises:
    UserError: there is no finished run, its method needs more than images, a
      platform is unknown, the file cannot be written, or its scores of the
      probe are not the checkpoint's.
  """
  if unknown := [name for name in platforms if name not in PLATFORMS]:
    raise UserError(
      f"--platforms={','.join(unknown)} was given; choose among"
      f" {', '.join(PLATFORMS)}."
    )
  model = Trained.load(workdir)
  if exported.platform() not in platforms:
    raise UserError(
      f"the file would be for {', '.join(platforms)}, and this machine's"
      f" {exported.platform()} cannot check it; add {exported.platform()} to"
      " --platforms."
    )
  probe = probe_images(model)
  # First: a run that stopped half-way says so here.
  scores = model.score(probe).scores.image
  size = batch_size or _share(model)
  leaves, programs = programs_of(model, size, platforms)
  manifest = _manifest(model, workdir, size) | _facts(programs)
  entries = {
    **{f"programs/{k}": p.mlir_module_serialized for k, p in programs.items()},
    **{f"arrays/{k:05d}.npy": _npy(leaf) for k, leaf in enumerate(leaves)},
    "probe/images.npy": _npy(probe),
    **{f"probe/{name}.npy": _npy(values) for name, values in scores.items()},
    **{f"medad_jax/{name}": _source(name) for name in _LOADER},
    "__main__.py": _MAIN.encode(),
  }
  # Beside the old file, which stays until the new one was loaded and compared.
  fresh = out.with_name(f"{out.name}.unchecked")
  try:
    files.write(fresh, packed(manifest, entries))
    loaded = exported.load_exported(fresh)
    fresh.replace(out)
  except exported.ModelFileError as error:
    raise UserError(f"the model was not exported: {error}") from error
  finally:
    fresh.unlink(missing_ok=True)
  return loaded


def probe_images(model: Trained) -> np.ndarray:
  """Made-up images that the model is fed, [n h w c]: no patient's."""
  height, width, channels = model.shape
  # Its streams are frozen, and a user may draw the same images.
  draw = np.random.RandomState(0)
  across = np.linspace(0, 1, width)[None, :, None]
  down = np.linspace(0, 1, height)[:, None, None]
  images = []
  for _ in range(_PROBED):
    # Waves of random length and turn: smooth, all different, of all levels.
    turn, waves = draw.uniform(0, 6.3, (2, 4, channels)), draw.uniform(1, 9, 8)
    levels = sum(
      np.sin(waves[k] * across + turn[0, k])
      * np.cos(waves[k + 4] * down + turn[1, k])
      for k in range(4)
    )
    images.append(np.clip(127 + 60 * levels, 0, 255))
  return np.array(images).astype(model.settings.data.dtype)


def packed(manifest: Mapping[str, Any], entries: Mapping[str, bytes]) -> bytes:
  """The bytes of a model file."""
  digests = {k: hashlib.sha256(v).hexdigest() for k, v in entries.items()}
  # One checksum for each entry, and one for the list of these.
  text = json.dumps({**manifest, "files": digests}, indent=1).encode()
  heads = {
    "manifest.json": text,
    "checksum": hashlib.sha256(text).hexdigest().encode(),
  }
  buffer = io.BytesIO()
  with zipfile.ZipFile(buffer, "w") as archive:
    for name, data in {**heads, **entries}.items():
      # Weights hardly get smaller, and reading them should cost nothing.
      kind = zipfile.ZIP_DEFLATED
      if name.startswith("arrays/"):
        kind = zipfile.ZIP_STORED
      archive.writestr(zipfile.ZipInfo(name, _EPOCH), data, kind)
  return buffer.getvalue()


def score_program(model: Trained, states: Any):
  """The scorer's function of leaves of states, images and ids.

  Args:
    model: what scores.
    states: of whose structure the leaves are; its keys come as their numbers.
  """
  function = scorer.score_function(model.method, len(model.trials))
  structure = jax.tree.structure(states)
  # numpy holds no keys, only the numbers that they are made of.
  keys = [_is_key(leaf) for leaf in jax.tree.leaves(states)]

  def program(leaves, images, ids):
    restored = [
      jax.random.wrap_key_data(leaf) if key else leaf
      for leaf, key in zip(leaves, keys, strict=True)
    ]
    # What the scorer itself makes of stored images.
    batch = batched.batch_of({"id": ids, "image": images})
    found = function(jax.tree.unflatten(structure, restored), batch)
    # All results, as in the scorer: without some, others might be computed
    # in another order.
    return _named(found)

  return program


def programs_of(
  model: Trained, size: int, platforms: Iterable[str]
) -> tuple[list[np.ndarray], dict[str, jax_export.Exported]]:
  """Arrays that scores need, and a program for each platform.

  Args:
    model: what scores.
    size: images at a time.
    platforms: of `PLATFORMS`.

  Raises:
    UserError: the method reads more than images.
  """
  states = dict(model.states)
  leaves = [
    np.asarray(jax.random.key_data(x) if _is_key(x) else x)
    for x in jax.tree.leaves(states)
  ]
  program = score_program(model, states)
  dtype = np.dtype(model.settings.data.dtype)
  inputs = (
    jax.ShapeDtypeStruct((size, *model.shape), dtype),
    jax.ShapeDtypeStruct((size,), np.int32),
  )
  try:
    whole = _exported(program, leaves, inputs, "cpu")
  except KeyError as error:
    raise UserError(
      f"the method reads the column {error}, which images alone have not; such"
      " a model cannot be exported."
    ) from error
  # Training's own nets, such as a loss's, need not travel.
  kept = [k for k in whole.module_kept_var_idx if k < len(leaves)]
  shapes = [jax.ShapeDtypeStruct(x.shape, x.dtype) for x in leaves]

  def pruned(some, *rest):
    # Zeros that nothing reads: XLA removes them.
    filled = [jnp.zeros(x.shape, x.dtype) for x in shapes]
    for k, leaf in zip(kept, some, strict=True):
      filled[k] = leaf
    return program(filled, *rest)

  some = [leaves[k] for k in kept]
  return some, {
    name: _exported(pruned, some, inputs, name) for name in platforms
  }


def _exported(program, leaves, inputs, platform: str) -> jax_export.Exported:
  """One platform's program: with several in one, each would hold a choice."""
  shapes = [jax.ShapeDtypeStruct(x.shape, x.dtype) for x in leaves]
  exporter = jax_export.export(jax.jit(program), platforms=(platform,))
  with _without_paths():
    return exporter(shapes, *inputs)


@contextlib.contextmanager
def _without_paths() -> Iterator[None]:
  """Keeps the names of this machine's folders out of programs."""
  name = "jax_hlo_source_file_canonicalization_regex"
  before = jax.config.values[name]
  jax.config.update(name, ".*/")
  try:
    yield
  finally:
    jax.config.update(name, before)


def _share(model: Trained) -> int:
  """Images that the run's scorer gives each device at a time."""
  # Of the same program on a part of the batch the bits are the same.
  count = len(model.devices.all)
  return -(-model.settings.evaluation.batch_size // count)


def _facts(programs: Mapping[str, jax_export.Exported]) -> dict[str, Any]:
  """Everything that a program needs besides its content, as JSON values."""
  one = next(iter(programs.values()))
  results = jax.tree.unflatten(one.out_tree, one.out_avals)
  return {
    "platforms": list(programs),
    "programs": {
      "convention": one.calling_convention_version,
      "kept": list(one.module_kept_var_idx),
      "results": {k: [list(x.shape), x.dtype.name] for k, x in results.items()},
    },
  }


def _manifest(model: Trained, workdir: Path, size: int) -> dict[str, Any]:
  data = model.settings.data
  wanted = model.settings.evaluation
  found = alarms.of_run(workdir, model.method.score_names[-1], wanted)
  return {
    "format": exported.FORMAT,
    "shape": list(model.shape),
    "dtype": np.dtype(data.dtype).name,
    "batch_size": size,
    "scores": list(model.method.score_names),
    # Its steps written out, as the loader reads them.
    "preparation": str(preparation.parse(data.tested, data.stored)),
    "alarms": [alarm_facts(one) for one in found],
    "probed_on": exported.platform(),
    "run": _run(model, workdir),
  }


def alarm_facts(alarm: alarms.Alarms) -> dict[str, Any]:
  """A threshold and p-values as steps, which need no held-out scores."""
  # P-values change at held-out scores alone.
  levels = np.unique(alarm.held_out)
  beyond = np.nextafter(levels[-1:], np.inf)
  steps = alarm.p_values(np.concatenate([levels, beyond]))
  return {
    **alarms.facts(alarm),
    "anchor": alarm.anchor,
    "levels": levels.tolist(),
    "p_values": steps.tolist(),
  }


def _run(model: Trained, workdir: Path) -> dict[str, Any]:
  """The training and, where there is one, the evaluation."""
  folder = Workdir(workdir)
  precision = model.config.get("model", {}).get("precision", "float32")
  described = environment.describe(precision)
  # A folder of normal images has no results.
  path = workdir / "results.json"
  results = Results.load(path).to_json()["scores"] if path.exists() else {}
  return {
    "method": model.config["method"],
    "config": dict(model.config),
    "data": folder.data(),
    "trained": folder.starts(),
    "versions": described["versions"],
    "commit": described["commit"],
    "results": results,
    "note": "Research software, and not a medical device.",
  }


def _named(found: scorer.Scored) -> dict[str, Any]:
  """All results as a flat dictionary, which any loader can read."""
  flat, _ = jax.tree_util.tree_flatten_with_path(found)
  named = {}
  for path, values in flat:
    # .scores.image['rec'] -> image/rec
    parts = [str(getattr(p, "name", getattr(p, "key", p))) for p in path]
    named["/".join(p for p in parts if p != "scores")] = values
  return named


def _is_key(leaf: Any) -> bool:
  return jax.dtypes.issubdtype(leaf.dtype, jax.dtypes.prng_key)


def _npy(values: Any) -> bytes:
  buffer = io.BytesIO()
  np.save(buffer, np.asarray(values), allow_pickle=False)
  return buffer.getvalue()


def _source(name: str) -> bytes:
  return (Path(exported.__file__).parent / name).read_bytes()
