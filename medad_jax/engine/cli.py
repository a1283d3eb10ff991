"""What the binaries share: flags in, one sentence out where a user erred."""

from collections.abc import Callable
import os
from pathlib import Path
import sys
from typing import Any, NoReturn
import warnings

from absl import app, flags, logging
import jax

from medad_jax.engine import processes
from medad_jax.types import UserError

CACHE = Path.home() / ".cache" / "medad_jax" / "compiled"


def run(main: Callable[[], Any], several: bool = False) -> NoReturn:
  """Parses the flags and runs `main`; a user's mistake ends with status 2.

  Args:
    main: the binary.
    several: whether it can be one of several processes, by --distributed.
  """
  if several:
    flags.DEFINE_bool("distributed", False, "One of several processes.")

  def guarded(argv: list[str]) -> None:
    if len(argv) > 1:
      _leave(f"'{argv[1]}' is not a flag; flags start with --")
    # orbax tells of every file, and of a failed one with its traceback; what
    # matters of that arrives as an exception.
    logging.set_verbosity(logging.FATAL)
    warnings.filterwarnings("ignore", "coroutine 'async_serialize")
    _cache_compilations()
    try:
      if several and flags.FLAGS.distributed:
        processes.join()
      main()
    except UserError as error:
      _leave(str(error))
    except KeyboardInterrupt:
      _leave("interrupted; run the same command again to go on", status=130)

  app.run(guarded, flags_parser=_parse)


def _parse(argv: list[str]) -> list[str]:
  try:
    return flags.FLAGS(argv)
  except flags.Error as error:
    _leave(f"{error}; run with --help to see the flags")
  except (AttributeError, KeyError) as error:
    # ml_collections' way to say that a field does not exist.
    (reason,) = getattr(error.args[0], "args", error.args)
    hint = ". ".join(str(reason).splitlines())
    _leave(f"the configuration has no such field: {hint}")


def _cache_compilations() -> None:
  """Keeps compiled programs on disk: a second start compiles nothing."""
  if "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS" not in os.environ:
    # By default what compiles within a second is not kept.
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.0)
  if "JAX_COMPILATION_CACHE_DIR" not in os.environ:
    jax.config.update("jax_compilation_cache_dir", str(CACHE))


def _leave(sentence: str, status: int = 2) -> NoReturn:
  who = "medad_jax"
  if jax.distributed.is_initialized():
    who += f", process {jax.process_index()} of {jax.process_count()}"
  print(f"{who}: {sentence}", file=sys.stderr)
  sys.exit(status)
