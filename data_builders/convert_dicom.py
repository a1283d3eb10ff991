"""Chest X-rays from DICOM to PNG, as the DDAD benchmarks have them.

  python -m medad_jax.convert_dicom --source=DIR --out=DIR

Needs the extra `dicom` (pydicom and pylibjpeg).
"""

import argparse
from collections import Counter
from collections.abc import Mapping
import importlib.util
import os
from pathlib import Path
import sys

import tqdm

from data_builders import dicom, litter, notices
from medad_jax import files
from medad_jax.data import workers
from medad_jax.types import UserError

# Endings that are no part of a name; "1.2.840.1" has none.
_ENDINGS = (".dcm", ".dicom", ".dic", ".ima")


def convert_folder(
  source: Path, out: Path, size: int
) -> dict[str, dicom.Outcome]:
  """Converts every DICOM file below a folder, in parallel.

  Args:
    source: searched with its subfolders, for files of a DICOM ending or header.
    out: where NAME.png goes for NAME.dcm; made if absent.
    size: height and width of the images, pixels.

  Returns:
    What there is to say of a file, by its path below `source`.

  Raises:
    UserError: nothing to convert, two files of one name, a folder that cannot
      be read or written, an impossible size, or no pydicom.
  """
  _check_extra()
  if not 1 <= size <= 8192:
    raise UserError(f"--size={size} is not a size; give 1 to 8192 pixels.")
  found = _find(source)
  try:
    out.mkdir(parents=True, exist_ok=True)
  except OSError as error:
    raise files.unwritable(out, error) from error
  jobs = [(path, out / f"{_stem(path)}.png", size) for path in found]
  try:
    outcomes = tqdm.tqdm(
      workers.run(dicom.convert_file, jobs),
      "converting",
      len(jobs),
      unit="file",
      disable=None,
    )
    said = dict(zip(found, outcomes, strict=True))
  finally:
    for left in out.glob("*.png.tmp"):  # of workers that were stopped
      left.unlink(missing_ok=True)
  return {
    str(path.relative_to(source)): outcome
    for path, outcome in said.items()
    if outcome != dicom.Outcome()
  }


def main(argv: list[str] | None = None) -> int:
  """The command line; status 1 when some files could not be converted."""
  args = _parse(argv)
  # Names of files may be no text in the encoding of the terminal.
  sys.stderr.reconfigure(errors="backslashreplace")
  try:
    said = convert_folder(
      files.expanded(args.source), files.expanded(args.out), args.size
    )
  except UserError as error:
    print(f"data_builders: {error}", file=sys.stderr)
    return 2
  except KeyboardInterrupt:
    print("data_builders: interrupted; the same command begins anew.")
    return 130
  return _report(said)


def _report(said: Mapping[str, dicom.Outcome]) -> int:
  odd = [f"{k}: {o.warning}" for k, o in said.items() if o.warning]
  if odd:
    notices.warn(
      f"{len(odd)} images have so few levels that a few pixels, such as a"
      " marker's, must be far brighter or darker than the rest:\n"
      + notices.listed(odd)
    )
  failed = {k: o.problem for k, o in said.items() if o.problem}
  for name, reason in failed.items():
    print(f"  {name}: {reason}", file=sys.stderr)
  if failed:
    print(f"{len(failed)} files could not be converted.", file=sys.stderr)
  return 1 if failed else 0


def _parse(argv: list[str] | None) -> argparse.Namespace:
  parser = argparse.ArgumentParser(
    prog="python -m medad_jax.convert_dicom", description=__doc__
  )
  parser.add_argument("--source", required=True, help="folder of DICOM files")
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
    raise UserError(f"--source={source} is not a folder of DICOM files.")
  found, left_out = [], Counter[str]()
  for path in _walk(source):
    if _is_dicom(path):
      found.append(path)
    else:
      left_out[path.suffix.lower() or "no ending"] += 1
  if left_out:
    kinds = ", ".join(f"{kind} ({n})" for kind, n in left_out.most_common(9))
    notices.warn(
      f"{left_out.total()} files are left out, without a DICOM ending or"
      f" header: {kinds}"
    )
  if not found:
    raise UserError(f"there are no DICOM files in {source} or below it.")
  _check_names(found, source)
  return found


def _walk(source: Path) -> list[Path]:
  """All files but litter, in the order of names."""
  found, closed = [], []
  for root, inner, names in os.walk(source, onerror=closed.append):
    inner[:] = [name for name in inner if not litter.is_litter(name)]
    inside = [Path(root) / name for name in names + inner]
    # A linked folder may lead to itself.
    closed += [path for path in inside if path.is_symlink() and path.is_dir()]
    found += [
      path
      for path in inside
      if path.is_file() and not litter.is_litter(path.name)
    ]
  if closed:
    raise UserError(
      f"{len(closed)} folders in {source} are links or cannot be read; put"
      " folders that can be read in their place:\n"
      + notices.listed([str(getattr(c, "filename", c)) for c in closed])
    )
  return sorted(found)


def _is_dicom(path: Path) -> bool:
  if path.name == "DICOMDIR":  # a table of contents
    return False
  if path.suffix.lower() in _ENDINGS:
    return True
  try:
    return dicom.has_header(path)
  except OSError as error:
    raise UserError(
      f"{path} cannot be read ({error.strerror}); make it readable, or take it"
      " out."
    ) from error


def _stem(path: Path) -> str:
  return path.stem if path.suffix.lower() in _ENDINGS else path.name


def _check_names(found: list[Path], source: Path) -> None:
  stems: dict[str, list[Path]] = {}
  for path in found:
    stems.setdefault(_stem(path), []).append(path)
  twice = [paths for paths in stems.values() if len(paths) > 1]
  if twice:
    raise UserError(
      f"files in {source} would become the same image; rename them:\n"
      + notices.listed([" = ".join(map(str, paths)) for paths in twice])
    )


if __name__ == "__main__":
  sys.exit(main())
