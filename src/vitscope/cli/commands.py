"""The list of commands. A new command is one file beside this one and one line in ``register``."""

from __future__ import annotations

import typer

from vitscope.cli import bank, calibrate, demo, evaluate, explain, flow, heads, inspect, methods

_done: set[int] = set()


def register(application: typer.Typer) -> None:
    """Add every command to ``application``, once."""
    if id(application) in _done:
        return
    _done.add(id(application))
    application.command(epilog=demo.EPILOG)(demo.demo)
    application.command(epilog=inspect.EPILOG)(inspect.inspect)
    application.command(epilog=methods.EPILOG)(methods.methods)
    application.command(epilog=explain.EPILOG)(explain.explain)
    application.command(epilog=flow.EPILOG)(flow.flow)
    application.command(epilog=calibrate.EPILOG)(calibrate.calibrate)
    application.command(epilog=evaluate.EPILOG)(evaluate.evaluate)
    application.add_typer(heads.application)
    application.add_typer(bank.application)
