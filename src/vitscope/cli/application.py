"""The Typer application, and the border at which every error becomes one line and an exit code."""

from __future__ import annotations

import os
import sys
from typing import Annotated, Any

import typer

from vitscope import __version__
from vitscope.errors import VitscopeError

# Typer has moved click into itself; its own name for a wrong parameter leads to the classes in both cases.
_UsageError: type[Any] = typer.BadParameter.__bases__[0]
_ClickError: type[Any] = _UsageError.__bases__[0]

OK, FAILED, USAGE, PARTIAL, INTERRUPTED = 0, 1, 2, 3, 130

application = typer.Typer(
    name="vitscope",
    no_args_is_help=True,
    rich_markup_mode="rich",
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog="Exit codes: 0 done, 1 failed, 2 wrong usage, 3 done but for some pictures that were skipped.",
)


def _print_version(wanted: bool) -> None:
    if wanted:
        sys.stdout.write(f"vitscope {__version__}\n")
        raise typer.Exit()


@application.callback()
def _root(
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    """A microscope for Vision Transformers: where a decision comes from, how it forms, which heads matter."""


def main(arguments: list[str] | None = None) -> None:
    """Run the command line; never returns. Errors of the input are one line on stderr and exit code 1 or 2."""
    raise SystemExit(run(arguments))


def run(arguments: list[str] | None = None) -> int:
    """Run the command line and return its exit code."""
    from vitscope.cli import commands

    commands.register(application)
    try:
        result = application(arguments, standalone_mode=False)
    except typer.Exit as stop:
        return int(stop.exit_code)
    except (typer.Abort, KeyboardInterrupt):
        return _fail("interrupted; what was finished is kept", INTERRUPTED)
    except _UsageError as error:
        context = getattr(error, "ctx", None)
        command = context.command_path if context is not None else "vitscope"
        message = error.format_message().rstrip(".")
        # Called with no argument at all: the help was printed, there is nothing to add.
        return _fail(f"{message}; see {command} --help", USAGE) if message else USAGE
    except _ClickError as error:
        return _fail(error.format_message(), FAILED)
    except VitscopeError as error:
        return _fail(str(error), FAILED)
    except BrokenPipeError:
        # The reader of a pipe (head, less) has had enough; close quietly.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return OK
    except Exception as error:
        return _unexpected(error)
    return result if isinstance(result, int) else OK


def _unexpected(error: Exception) -> int:
    """An error that no room foresaw: name it in one line, and give the traceback to who asks for it."""
    if os.environ.get("VITSCOPE_TRACEBACK") == "1":
        raise error
    cause = " ".join(str(error).split()) or "no message"
    if len(cause) > 300:
        cause = cause[:297] + "..."
    if "out of memory" in cause.lower() or isinstance(error, MemoryError):
        return _fail(f"out of memory: {cause}; use a smaller --batch-size or --image-size", FAILED)
    if isinstance(error, OSError):
        return _fail(f"{cause}; check the path, its permissions and the space left", FAILED)
    return _fail(
        f"{type(error).__name__}: {cause}; this is a bug, VITSCOPE_TRACEBACK=1 shows where it comes from",
        FAILED,
    )


def _fail(message: str, code: int) -> int:
    sys.stderr.write(f"error: {' '.join(message.split())}\n")
    return code
