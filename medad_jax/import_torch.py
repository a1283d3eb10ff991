"""Imports checkpoints of the PyTorch projects as a finished run.

  python -m medad_jax.import_torch --config=configs/brain_ddad.py:ae \
      --udm=a/0.pth,a/1.pth,a/2.pth --ndm=b/0.pth,b/1.pth,b/2.pth \
      --refine=refine_dual.pth --workdir=W
  python -m medad_jax.import_torch --checkpoint=model.pt --workdir=W --verify \
      --config=configs/reconstruction.py:brain/vae
  python -m medad_jax.evaluate --workdir=W

Nothing in the files is executed. --verify runs the same nets in PyTorch and
writes W/parity.json and W/parity.md; the exit status is 1 where the two
disagree by 1e-5 or more.
"""

import sys

from absl import flags

from medad_jax import files
from medad_jax.engine import certificate, cli, importing

with cli.sentences():
  CONFIG = cli.define_config()
WORKDIR = cli.define_path("workdir", None, "Folder of the new run.")
CHECKPOINT = flags.DEFINE_list("checkpoint", [], "A file of each member.")
UDM = flags.DEFINE_list("udm", [], "DDAD's a/0.pth, a/1.pth, ...")
NDM = flags.DEFINE_list("ndm", [], "DDAD's b/0.pth, b/1.pth, ...")
REFINE = flags.DEFINE_list("refine", [], "DDAD's refine_dual.pth.")
VERIFY = flags.DEFINE_bool("verify", False, "Compare with PyTorch.")
IMAGES = flags.DEFINE_integer(
  "images", 256, "Test images to compare on, with --verify.", lower_bound=2
)
flags.mark_flag_as_required("workdir")


def main() -> None:
  """Reads the flags."""
  if VERIFY.value:
    certificate.check_torch()  # before anything is written
  given = {
    flag.name: [files.expanded(path) for path in flag.value]
    for flag in (CHECKPOINT, UDM, NDM, REFINE)
  }
  config = CONFIG.value.to_dict()
  sources = importing.import_files(config, given, WORKDIR.value)
  print(importing.summary(sources, WORKDIR.value))
  if VERIFY.value:
    found = certificate.verify(WORKDIR.value, sources, IMAGES.value)
    print(found.sentence())
    sys.exit(0 if found.holds else 1)


if __name__ == "__main__":
  cli.run(main)
