"""Chest X-rays from DICOM to PNG, as the DDAD benchmarks have them.

  python -m medad_jax.convert_dicom --source=DIR --out=DIR

Needs the extra `dicom` (pydicom and pylibjpeg).
"""

import argparse
import importlib.util
from pathlib import Path
import sys

import tqdm

from data_builders import dicom
from medad_jax import files
from medad_jax.data import workers
from medad_jax.types import UserError


def convert_folder(source: Path, out: Path, size: int) -> dict[str, str]:
  """Converts every .dcm file below a folder, in parallel.

  Args:
    source: searched with its subfolders.
    out: where NAME.png goes for NAME.dcm; made if absent.
    size: height and width of the images, pixels.

  Returns:
    Why a file could not be converted, by its path below `source`.

  Raises:
    UserError: nothing to convert, two files of one name, or no pydicom.
  """
  _check_extra()
  files = _find(source)
  out.mkdir(parents=True, exist_ok=True)
  jobs = [(path, out / f"{path.stem}.png", size) for path in files]
  found = workers.run(dicom.convert_file, jobs)
  bar = tqdm.tqdm(found, "converting", len(jobs), unit="file", disable=None)
  reasons = list(bar)
  return {
    str(path.relative_to(source)): reason
    for path, reason in zip(files, reasons, strict=True)
    if reason is not None
  }


def main(argv: list[str] | None = None) -> int:
  """The command line; status 1 when some files could not be converted."""
  args = _parse(argv)
  try:
    failed = convert_folder(
      files.expanded(args.source), files.expanded(args.out), args.size
    )
  except UserError as error:
    print(f"data_builders: {error}", file=sys.stderr)
    return 2
  for name, reason in failed.items():
    print(f"  {name}: {reason}", file=sys.stderr)
  if failed:
    print(f"{len(failed)} files could not be converted.", file=sys.stderr)
  return 1 if failed else 0


def _parse(argv: list[str] | None) -> argparse.Namespace:
  parser = argparse.ArgumentParser(
    prog="python -m medad_jax.convert_dicom", description=__doc__
  )
  parser.add_argument("--source", required=True, help="folder of .dcm files")
  parser.add_argument("--out", required=True, help="folder for .png files")
  parser.add_argument(
    "--size", type=int, default=512, help="height and width, pixels [512]"
  )
  return parser.parse_args(argv)


def _check_extra() -> None:
  wanted = ("pydicom", "pylibjpeg")
  absent = [m for m in wanted if importlib.util.find_spec(m) is None]
  if absent:
    raise UserError(
      f"reading DICOM files needs {' and '.join(absent)}; install with"
      " pip install 'medad-jax[dicom]'."
    )


def _find(source: Path) -> list[Path]:
  if not source.is_dir():
    raise UserError(f"--source={source} is not a folder of .dcm files.")
  files = sorted(p for p in source.rglob("*") if p.suffix.lower() == ".dcm")
  if not files:
    raise UserError(f"there are no .dcm files in {source} or below it.")
  stems: dict[str, list[Path]] = {}
  for path in files:
    stems.setdefault(path.stem, []).append(path)
  twice = [paths for paths in stems.values() if len(paths) > 1]
  if twice:
    raise UserError(
      f"files in {source} would become the same image; rename them:\n"
      + "\n".join("  " + " = ".join(map(str, paths)) for paths in twice)
    )
  return files


if __name__ == "__main__":
  sys.exit(main())
