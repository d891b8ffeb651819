"""The list of commands. A new command is one file beside this one and one line in ``register``."""

from __future__ import annotations

from vitscope.cli.commands import (
    bank,
    calibrate,
    demo,
    doctor,
    evaluate,
    explain,
    flow,
    heads,
    inspect,
    methods,
    serve,
    study,
)
from vitscope.cli.shared.usage import Commands

_done: set[int] = set()


def register(application: Commands) -> None:
    """Add every command to ``application``, once."""
    if id(application) in _done:
        return
    _done.add(id(application))
    application.add(demo.EXAMPLE)(demo.demo)
    application.add(inspect.EXAMPLE)(inspect.inspect)
    application.add(methods.EXAMPLE)(methods.methods)
    application.add(explain.EXAMPLE)(explain.explain)
    application.add(flow.EXAMPLE)(flow.flow)
    application.add(calibrate.EXAMPLE)(calibrate.calibrate)
    application.add(evaluate.EXAMPLE)(evaluate.evaluate)
    application.add_typer(heads.application)
    application.add_typer(bank.application)
    application.add_typer(study.application)
    application.add(serve.EXAMPLE)(serve.serve)
    application.add(doctor.EXAMPLE)(doctor.doctor)
