"""Entry points of the binaries: flags in, errors out as one sentence."""

from collections.abc import Callable, Iterator
import contextlib
import io
import os
from pathlib import Path
import re
import sys
import traceback
from typing import Any, NoReturn
import warnings

from absl import app, flags, logging
import jax

from medad_jax import files, shipped
from medad_jax.engine import processes
from medad_jax.types import UserError

_CACHE_BYTES = 4_000_000_000  # of compiled programs, kept from run to run
# Fields that had another name, and their place in the same section now.
_RENAMED = {
  "final_rate": "schedule.final_rate",
  "rate_lag": "schedule.lag",
  "optimizer": "algorithm",
  "resize": "preparation",
}

flags.disclaim_key_flags()  # a flag belongs to the binary that defines it


def define_path(
  name: str, default: str | None, description: str
) -> flags.FlagHolder[Path]:
  """Defines a flag whose value is a path; a leading `~` is expanded."""
  return flags.DEFINE(
    _PathParser(), name, default, description, serializer=None
  )


def define_config() -> flags.FlagHolder[Any]:
  """Defines --config, a file of configs/, and a flag for each of its fields.

  Flags of fields are read from the command line at once: call it inside of
  `sentences`.
  """
  # Binaries without configurations do without it.
  from ml_collections import config_flags

  found = config_flags.DEFINE_config_file(
    "config", None, "A file of configs/, and what to change in it."
  )
  flag = flags.FLAGS["config"]
  flag.parser = _ConfigFile(flag.parser)
  flags.mark_flag_as_required("config")
  return found


def workdir_of(config: str, kind: str = "") -> Path:
  """The usual folder: configs/rsna_ddad.py:aeu -> runs/rsna_ddad_aeu.

  Args:
    config: the configuration's file and argument.
    kind: what is done, where it is no training.
  """
  file, _, argument = config.partition(":")
  parts = [kind, Path(file).stem, *argument.split("/")]
  return Path("runs") / "_".join(filter(None, parts))


def run(
  main: Callable[..., Any], several: bool = False, words: bool = False
) -> NoReturn:
  """Parses the flags and runs `main`; a user's mistake ends with status 2.

  Args:
    main: the binary.
    several: whether it can be one of several processes, by --distributed.
    words: whether `main` takes the list of what is no flag.
  """
  if several:
    flags.DEFINE_bool("distributed", False, "One of several processes.")

  def guarded(argv: list[str]) -> None:
    if len(argv) > 1 and not words:
      raise UserError(f"'{argv[1]}' is not a flag; flags start with --")
    # orbax logs every file, and a failed one with its traceback. Failures also
    # arrive as exceptions, which are all that is needed.
    logging.set_verbosity(logging.FATAL)
    # A terminal without Unicode must not cost a run its table.
    for stream in (sys.stdout, sys.stderr):
      if isinstance(stream, io.TextIOWrapper):
        stream.reconfigure(errors="backslashreplace")
    # Left behind by orbax when a save fails, which is raised anyway.
    warnings.filterwarnings("ignore", "coroutine 'async_serialize")
    _cache_compilations()
    # JAX must know the other processes before it looks for devices.
    if several and flags.FLAGS.distributed:
      processes.join()
    _check_platform()
    main(*([argv[1:]] if words else []))

  with sentences():
    app.run(guarded, flags_parser=_parse)
  raise AssertionError("app.run returns by SystemExit")


@contextlib.contextmanager
def sentences() -> Iterator[None]:
  """Ends the program with one sentence after a user's mistake or Ctrl-C.

  `run` is inside one; a binary needs it for what it does while it is imported.
  """
  try:
    yield
  except UserError as error:
    _say(str(error))
    sys.exit(2)
  except flags.Error as error:
    _say(f"{error}; run with --help to see the flags")
    sys.exit(2)
  except KeyboardInterrupt:
    _say("interrupted; run the same command again to go on")
    # At once: a library's thread, or the other processes of the run, could
    # keep an ordinary exit waiting. What is saved is in its files.
    sys.stdout.flush()
    os._exit(130)


class _PathParser(flags.ArgumentParser):
  """Turns text into a path."""

  def parse(self, argument: str | Path) -> Path:
    """The path; an empty one would be the current folder."""
    if not str(argument):
      raise ValueError("a path is missing")
    return files.expanded(argument)

  def flag_type(self) -> str:
    """Name of the type in --help."""
    return "path"


class _ConfigFile(flags.ArgumentParser):
  """ml_collections' parser, which finds files that come with the package."""

  def __init__(self, parser: flags.ArgumentParser):
    self._parser = parser

  def flag_type(self) -> str:
    """Name of the type in --help."""
    return self._parser.flag_type()

  def parse(self, path: str) -> Any:
    """The file's configuration, for the argument behind the colon."""
    name, colon, argument = path.partition(":")
    file = shipped.configuration_file(name)
    try:
      return self._parser.parse(f"{file}{colon}{argument}")
    except UserError:
      raise
    except Exception as error:
      # The file is the user's, and so is whatever it raises.
      *_, reason = ["", *str(error).strip().splitlines()]
      frames = traceback.extract_tb(error.__traceback__)
      lines = [f.lineno for f in frames if f.filename == str(file)]
      raise UserError(
        f"--config={path} cannot be read: {type(error).__name__} ({reason})"
        + (f" in line {lines[-1]} of {file}." if lines else ".")
      ) from error


def _parse(argv: list[str]) -> list[str]:
  try:
    return flags.FLAGS(argv)
  except (AttributeError, KeyError, ValueError) as error:
    # ml_collections raises these where a field does not exist.
    (reason,) = getattr(error.args[0], "args", error.args)
    hint = ". ".join(str(reason).splitlines())
    # ml_collections begins with the last word of the flag, in quotes.
    found = re.match(r"'(\w+)'", hint)
    if found and found[1] in _RENAMED:
      hint += f"; it is '{_RENAMED[found[1]]}' now, in the same section"
    raise UserError(f"the configuration has no such field: {hint}") from error


def _check_platform() -> None:
  """Raises UserError where JAX_PLATFORMS names what is not there.

  A CPU always is. It is not asked for its devices: their number is set later.
  """
  wanted = os.environ.get("JAX_PLATFORMS", "")
  if not wanted or wanted.startswith("cpu"):
    return
  try:
    jax.devices()
  except (RuntimeError, AssertionError) as error:
    reason = (str(error).splitlines() or ["nothing of it is installed"])[0]
    raise UserError(
      f"JAX_PLATFORMS={wanted} cannot be used here ({reason[:200]}); install"
      " what it needs, as pip install 'jax[cuda13]', or unset JAX_PLATFORMS."
    ) from error


def _cache_compilations() -> None:
  """Keeps compiled programs on disk: a second start compiles nothing."""
  if "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS" not in os.environ:
    # By default JAX does not keep programs that compile within a second.
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.0)
  if "JAX_COMPILATION_CACHE_DIR" in os.environ:
    return
  try:
    folder = files.cache_dir() / "compiled"
  except UserError:
    return  # no home: each start compiles
  _prune(folder, _CACHE_BYTES)
  jax.config.update("jax_compilation_cache_dir", str(folder))


def _prune(folder: Path, most_bytes: int) -> None:
  """Removes the files that were not used for longest, down to a size.

  JAX could do that itself (jax_compilation_cache_max_size), with a lock and a
  second file for each access; a process killed between the two would end all
  caching for good.
  """
  found = []
  try:
    for entry in os.scandir(folder):
      facts = entry.stat()
      # Some file systems do not record when a file is read.
      used = max(facts.st_atime, facts.st_mtime)
      found.append((used, facts.st_size, entry.path))
    excess = sum(size for _, size, _ in found) - most_bytes
    for _, size, path in sorted(found):
      if excess <= 0:
        break
      os.unlink(path)
      excess -= size
  except OSError:
    return  # absent, or another start removes the same files


def _say(sentence: str) -> None:
  who = "medad_jax"
  if jax.distributed.is_initialized():
    who += f", process {jax.process_index()} of {jax.process_count()}"
  print(f"{who}: {sentence}", file=sys.stderr, flush=True)
