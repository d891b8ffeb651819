"""The Typer application, and the border at which every error becomes one line and an exit code."""

from __future__ import annotations

import os
import signal
import sys
from typing import Annotated, Any

import typer

from vitscope.cli.exit_codes import FAILED, INTERRUPTED, OK, PARTIAL, USAGE, WORDS
from vitscope.cli.shared.remedies import in_shell_words
from vitscope.cli.shared.terminal import (
    hold_descriptors,
    leave_quietly,
    one_line,
    patient_streams,
    quiet_libraries,
)
from vitscope.cli.shared.usage import PROGRAM, Commands, Interrupted
from vitscope.errors import VitscopeError
from vitscope.version import __version__

# Typer has moved click into itself; its own name for a wrong parameter leads to the classes in both cases.
_UsageError: type[Any] = typer.BadParameter.__bases__[0]
_ClickError: type[Any] = _UsageError.__bases__[0]


def _print_version(wanted: bool) -> None:
    if wanted:
        sys.stdout.write(f"vitscope {__version__}\n")
        raise typer.Exit()


def new_application() -> Commands:
    """The program without a command yet; ``commands`` adds them."""
    application = Commands(
        name=PROGRAM,
        no_args_is_help=True,
        rich_markup_mode="rich",
        pretty_exceptions_enable=False,
        context_settings={"help_option_names": ["-h", "--help"]},
        epilog=WORDS,
    )
    application.callback()(_root)
    return application


def _root(
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    """A microscope for Vision Transformers: where a decision comes from, how it forms, which heads matter."""


def start(arguments: list[str] | None = None) -> int:
    """Run the command line as the process's own program and return its exit code."""
    hold_descriptors()
    try:
        code = run(arguments)
    finally:
        # What is left is the interpreter's own end; a second Ctrl-C ends it without its traceback.
        signal.signal(signal.SIGINT, signal.SIG_DFL)
    leave_quietly()
    return code


def run(arguments: list[str] | None = None) -> int:
    """Run the command line and return its exit code. Whatever cannot be used is one line on stderr and code 1 or 2."""
    with patient_streams() as (out, _), quiet_libraries():
        code = _run(arguments)
        out.flush()
        if out.lost is not None and code in (OK, PARTIAL):
            sys.stderr.write(f"not all of the output could be written ({out.lost}); files are complete\n")
            return PARTIAL
        return code


def _run(arguments: list[str] | None) -> int:
    from vitscope.cli import commands

    try:
        application = new_application()
        commands.register_asked(application, sys.argv[1:] if arguments is None else arguments)
        result = application(arguments, standalone_mode=False, prog_name=PROGRAM)
    except typer.Exit as stop:
        return int(stop.exit_code)
    except (typer.Abort, KeyboardInterrupt, Interrupted):
        return _interrupted()
    except _UsageError as error:
        context = getattr(error, "ctx", None)
        command = context.command_path if context is not None else "vitscope"
        message = error.format_message().rstrip(".")
        # Called with no argument at all: the help was printed, there is nothing to add.
        return _fail(f"{message}; see {command} --help", USAGE) if message else USAGE
    except _ClickError as error:
        return _fail(error.format_message(), FAILED)
    except VitscopeError as error:
        return _fail(in_shell_words(str(error)), _code(error))
    except Exception as error:
        return _unexpected(error)
    # Typer itself answers Ctrl-C outside a command (while it reads the line) with this code and no word.
    return _interrupted() if result == INTERRUPTED else result if isinstance(result, int) else OK


def _code(error: VitscopeError) -> int:
    """A study of another model, another plan or a newer version is wrong usage: nothing failed on the way."""
    studies = sys.modules.get("vitscope.studies.errors")  # without it nobody can have raised such an error
    return USAGE if studies is not None and isinstance(error, studies.OtherStudyError) else FAILED


def _interrupted() -> int:
    return _fail("interrupted; what was finished is kept", INTERRUPTED)


def _unexpected(error: Exception) -> int:
    """An error that no room foresaw: name it in one line, and give the traceback on request (VITSCOPE_TRACEBACK=1)."""
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
    sys.stderr.write(f"error: {one_line(message)}\n")
    return code
