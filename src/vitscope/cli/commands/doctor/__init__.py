"""``vitscope doctor``: what is installed, what is there to compute on, what is missing and what adds it."""

from vitscope.cli.commands.doctor.command import EXAMPLE, doctor

__all__ = ["EXAMPLE", "doctor"]
