"""The program, for the commands about heads."""

from tests.cli.conftest import shell as shell
