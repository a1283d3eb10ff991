"""Builds a data set: `python -m medad_jax.build brain --source=DIR`.

The set appears in DATA_DIR/NAME whole or not at all. Killed or stopped by bad
files, the same command goes on without verifying sound files again. Instead of
--source, --download fetches what is published for everybody. `build all` builds
whatever is in a folder that is laid out as MedIAnomaly's ~/MedIAnomaly-Data.
"""

import argparse
from collections.abc import Iterator, Mapping
import contextlib
import errno
import functools
import importlib
import io
import os
from pathlib import Path
import shutil
import sys
from typing import Any

from data_builders import archive, audit, benchmark, remote
from medad_jax import files
from medad_jax.data import store
from medad_jax.types import UserError

_ALL = "all"  # in place of a builder: those of MedIAnomaly's folder

# A full disk, a folder one may not write to: what a user can mend.
_USER_ERRNO = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
_USER_ERRNO += (errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOTDIR)


def build(
  builder: str,
  *,
  source: str | os.PathLike[str] | None = None,
  download: bool = False,
  data_dir: str | os.PathLike[str] | None = None,
  name: str | None = None,
  overwrite: bool = False,
  options: Mapping[str, Any] | None = None,
) -> Path:
  """Builds a set unless it is there.

  Args:
    builder: a folder of `data_builders`.
    source: the folder it reads, or an archive of it; None for a generated
      set.
    download: whether to fetch the source, which is removed when the set is
      there.
    data_dir: where sets are; None for `store.default_data_dir()`.
    name: what to call the set; None for the builder's name, and what the
      options add to it.
    overwrite: whether to replace a finished set.
    options: the builder's own settings.

  Returns:
    The finished set's folder, data_dir/name/version.

  Raises:
    UserError: no such builder, or a source that cannot be built from.
  """
  kind = find_builder(builder)
  options = options or {}
  name = name or builder + kind.suffix(options)
  store.check_name(name)
  root = files.expanded(data_dir) if data_dir else store.default_data_dir()
  with _user_errors(root), store.locked(root / ".building" / name) as work:
    done = store.find_built(root, name)
    if done is not None and not overwrite:
      origin = store.read_facts(done)["source"]
      print(f"{name} is already built in {done}, from '{origin}'.")
      if source is not None:
        print("The source given now was not read; --overwrite builds anew.")
      return done
    fetched = work / "download"
    if download:
      # Named as the set is, since that is recorded as its source.
      origin = _download(builder, kind, fetched / builder)
    else:
      origin = _check_source(builder, kind, source)
    # `MD5` need not be the sum of what is downloaded: CIFAR-10 has versions.
    known = kind.REMOTE[0].md5 if download else kind.MD5
    with archive.unpacked(origin, known, work / "source") as folder:
      settings = {**options, "source": folder, "origin": origin}
      built = _build(kind, name, root, work, settings)
    shutil.rmtree(fetched, ignore_errors=True)
    return built


def find_builder(name: str) -> type[Any]:
  """The builder class of a folder of `data_builders`."""
  names = builder_names()
  if name not in names:
    raise UserError(
      f"there is no builder '{name}'; there are {', '.join(names)}."
    )
  return importlib.import_module(f"data_builders.{name}.builder").Builder


def builder_names() -> list[str]:
  """The folders that hold a builder."""
  folder = Path(__file__).parent
  return sorted(path.parent.name for path in folder.glob("*/builder.py"))


def main(argv: list[str] | None = None) -> int:
  """The command line; returns the exit status."""
  args = _parse(argv)
  if isinstance(sys.stdout, io.TextIOWrapper):
    # The encoding of a terminal need not have the characters of a file's name.
    sys.stdout.reconfigure(errors="backslashreplace")
  try:
    folders = _build_all(args) if args.builder == _ALL else [_build_one(args)]
  except UserError as error:
    print(f"data_builders: {error}", file=sys.stderr)
    return 2
  except KeyboardInterrupt:
    print("data_builders: interrupted; the same command goes on.")
    return 130
  for folder in folders:
    _report(folder)
  return 0


def _build_one(args: argparse.Namespace) -> Path:
  own = ("split_file", *_flags(args.builder))
  return build(
    args.builder,
    source=args.source,
    download=args.download,
    data_dir=args.data_dir,
    name=args.name or _default_name(args.builder, args.split_file),
    overwrite=args.overwrite,
    options={k: v for k, v in vars(args).items() if k in own and v},
  )


def _build_all(args: argparse.Namespace) -> list[Path]:
  if args.name or args.split_file:
    raise UserError(
      "all builds several sets; leave --name and --split_file out."
    )
  where = {"data_dir": args.data_dir, "overwrite": args.overwrite}
  return benchmark.build_all(
    {name: find_builder(name) for name in builder_names()},
    functools.partial(build, **where),
    args.source,
    args.download,
  )


def _flags(builder: str) -> Mapping[str, Mapping[str, Any]]:
  """The builder's own flags; none of one that is not there."""
  return find_builder(builder).FLAGS if builder in builder_names() else {}


def _parse(argv: list[str] | None) -> argparse.Namespace:
  # Which builder it is says which flags there are.
  first, _ = _parser(nargs="?", add_help=False).parse_known_args(argv)
  parser = _parser()
  for name, how in _flags(first.builder).items():
    parser.add_argument(f"--{name}", **how)
  return parser.parse_args(argv)


def _parser(nargs: str | None = None, **settings) -> argparse.ArgumentParser:
  parser = argparse.ArgumentParser(
    prog="python -m medad_jax.build", description=__doc__, **settings
  )
  names = [_ALL, *builder_names()]
  parser.add_argument("builder", nargs=nargs, help=" | ".join(names))
  origin = parser.add_mutually_exclusive_group()
  origin.add_argument(
    "--source", help="folder or archive of the original files"
  )
  origin.add_argument(
    "--download", action="store_true", help="fetch what is free for everybody"
  )
  parser.add_argument(
    "--data_dir", help="where sets are kept [$MEDAD_DATA_DIR or ~/medad_data]"
  )
  parser.add_argument(
    "--name", help="what config.data.name will call the set [builder]"
  )
  parser.add_argument(
    "--split_file",
    help="another file of lists in the source; data_NEW.json names the set"
    " BUILDER_NEW [data.json]",
  )
  parser.add_argument(
    "--overwrite", action="store_true", help="replace a finished set"
  )
  return parser


def _default_name(builder: str, split_file: str | None) -> str | None:
  """Two splits of one source must not hide each other."""
  stem = Path(split_file).stem if split_file else "data"
  return None if stem == "data" else f"{builder}_{stem.removeprefix('data_')}"


def _download(builder: str, kind: type[Any], folder: Path) -> Path:
  """The source of a set that is published for everybody."""
  if kind.SOURCE is None:
    raise UserError(f"{builder} is generated; leave --download out.")
  if not kind.REMOTE:
    able = [name for name in builder_names() if find_builder(name).REMOTE]
    raise UserError(
      f"{builder} cannot be downloaded by this command (which knows"
      f" {', '.join(able)}); get it at {kind.HOMEPAGE or 'its homepage'} and"
      f" give --source=DIR, where DIR is {kind.SOURCE}."
    )
  print(f"{builder} is from {kind.HOMEPAGE}, license: {kind.LICENSE}")
  return remote.download(kind.REMOTE, folder, kind.SOURCE)


def _check_source(builder: str, kind: type[Any], source) -> Path:
  if kind.SOURCE is None:
    if source is not None:
      raise UserError(f"{builder} is generated; leave --source out.")
    return Path()
  if source is None:
    also = ", or --download" if kind.REMOTE else ""
    raise UserError(
      f"{builder} needs --source=DIR, where DIR is {kind.SOURCE}{also}."
    )
  origin = files.expanded(source)
  if not origin.exists():
    raise UserError(
      f"--source={source} is not a folder or file; it must be {kind.SOURCE},"
      f" or an archive of that ({archive.KINDS})."
    )
  return origin


def _build(kind, name, root, work, settings) -> Path:
  import tensorflow_datasets as tfds

  tfds.disable_progress_bar()  # the builders have one that knows the total
  fresh = work / "set"  # a killed build may have left it half full
  shutil.rmtree(fresh, ignore_errors=True)
  notes = work / "notes"
  notes.mkdir(exist_ok=True)
  named = type("Builder", (kind,), {"name": name}, skip_registration=True)
  try:
    builder = named(
      work=notes,
      data_dir=fresh,
      file_format="array_record",
      **settings,
    )
    # TFDS speaks of downloads; joblib needs a stream that it can flush.
    with contextlib.redirect_stdout(io.StringIO()):
      builder.download_and_prepare(download_dir=fresh / "downloads")
    final = root / name / str(builder.version)
    store.replace(fresh / name / str(builder.version), final, work / "old")
  finally:
    shutil.rmtree(fresh, ignore_errors=True)
    with contextlib.suppress(OSError):  # there are notes
      notes.rmdir()
  shutil.rmtree(notes, ignore_errors=True)
  audit.report(final, audit.audit(final))
  return final


@contextlib.contextmanager
def _user_errors(root: Path) -> Iterator[None]:
  """Turns what a full or locked disk raises, anywhere, into a sentence."""
  try:
    yield
  except UserError:
    raise
  except Exception as error:
    found = _disk_error(error)
    if found is None:
      raise
    raise UserError(
      f"cannot write to {found.filename or root} ({found.strerror}); make room"
      " there or choose another --data_dir."
    ) from error


def _disk_error(error: BaseException | None) -> OSError | None:
  """The disk's own error behind one of TFDS or of ArrayRecord."""
  while error is not None:
    if isinstance(error, OSError) and error.errno in _USER_ERRNO:
      return error
    # ArrayRecord's writer hands on the text alone.
    for number in _USER_ERRNO:
      if os.strerror(number) in str(error):
        return OSError(number, os.strerror(number))
    error = error.__cause__ or error.__context__
  return None


def _report(folder: Path) -> None:
  facts = store.read_facts(folder)
  counts, published = facts["counts"], facts["published"]
  print(f"\n{'split':<22}{'images':>8}{'published':>11}")
  for split in {**published, **counts}:
    beside = published.get(split, "-")
    print(f"{split:<22}{counts.get(split, 0):>8}{beside:>11}")
  if any(published.get(k, v) != v for k, v in counts.items()):
    print(
      "Warning: the counts differ from the publication's; results are not"
      " comparable with published ones."
    )
  if published.keys() - counts.keys():
    print("There are no unlabelled images: config.data.extra must be 0.")
  print(f"\n{folder}\nuse it with --config.data.name={folder.parent.name}")


if __name__ == "__main__":
  sys.exit(main())
