"""``vitscope evaluate``: can these maps be trusted? Methods against metrics, controls and planted evidence."""

from vitscope.cli.commands.evaluate.command import EXAMPLE, evaluate

__all__ = ["EXAMPLE", "evaluate"]
