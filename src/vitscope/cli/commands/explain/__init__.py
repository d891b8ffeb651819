"""``vitscope explain``: maps of pictures by one or more methods, as data and as drawings."""

from vitscope.cli.commands.explain.command import EXAMPLE, explain

__all__ = ["EXAMPLE", "explain"]
