"""Scores a folder of images with a finished run.

  python -m medad_jax.predict --workdir=W --images=DIR --out=OUT
  python -m medad_jax.predict --workdir=W --images=DIR --out=OUT --shard=3/16
  python -m medad_jax.predict --out=OUT --merge

OUT/scores.csv has a row for every image, and so for every slice of a volume:
score, p-value and flag, or the reason why there is none. A name that a
spreadsheet would take for a formula has "./" in front, a patient an apostrophe.
OUT/overlays shows where images are above what held-out normal images reach,
OUT/report.html the whole in one page. A killed run goes on with the same
command.
"""

from absl import flags

from medad_jax.engine import cli, outcome, prediction
from medad_jax.types import UserError

WORKDIR = cli.define_path("workdir", None, "Folder of a finished run.")
IMAGES = cli.define_path("images", None, "Folder of image files.")
OUT = cli.define_path("out", None, "Folder for the table and overlays.")
SHARD = flags.DEFINE_string("shard", None, "The part to do, such as 3/16.")
MERGE = flags.DEFINE_bool("merge", False, "Join the tables of all shards.")
OVERLAYS = flags.DEFINE_bool("overlays", True, "Draw images with marks.")
DICOM = flags.DEFINE_bool(
  "dicom", False, "Write overlays of DICOM files as Secondary Captures, too."
)
NORMAL = flags.DEFINE_bool(
  "normal", False, "All images are normal: tell whether they have drifted."
)
flags.mark_flag_as_required("out")


def main() -> None:
  """Reads the flags."""
  if MERGE.value:
    path = prediction.merge(OUT.value)
  elif WORKDIR.value is None or IMAGES.value is None:
    raise UserError(
      "--workdir and --images are wanted; give a finished run and a folder."
    )
  else:
    path = prediction.predict(
      WORKDIR.value,
      IMAGES.value,
      OUT.value,
      shard=SHARD.value,
      wanted=prediction.Wanted(OVERLAYS.value, DICOM.value),
    )
  if MERGE.value or SHARD.value is None:
    print(outcome.tell(OUT.value, NORMAL.value))
    print(f"scores are in {path}, the whole in {OUT.value / 'report.html'}")
  else:
    print(f"scores are in {path}; join the shards with --merge")


if __name__ == "__main__":
  cli.run(main)
