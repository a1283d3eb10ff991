"""Exports a run's nets as checkpoints that the PyTorch projects load.

  python -m medad_jax.export_torch --workdir=W --out=DIR
  python -m medad_jax.export_torch --workdir=W --out=DIR --format=safetensors

DDAD's become DIR/a/0.pth, ..., DIR/b/0.pth, ... and DIR/refine_dual.pth, those
of other methods DIR/model.pth, or DIR/model_0.pth, ... of several members. Of
several seeds each has a folder. The names and shapes are those that
import_torch reads; what was imported comes out as it was.
"""

from absl import flags

from medad_jax.engine import cli, importing

WORKDIR = cli.define_path("workdir", None, "Folder of a finished run.")
OUT = cli.define_path("out", None, "Folder for the files.")
FORMAT = flags.DEFINE_enum(
  "format", "pth", ["pth", "pt", "safetensors"], "The files' format."
)
flags.mark_flags_as_required(["workdir", "out"])


def main() -> None:
  """Reads the flags."""
  for path in importing.export(WORKDIR.value, OUT.value, f".{FORMAT.value}"):
    print(path)


if __name__ == "__main__":
  cli.run(main)
