"""``vitscope study``: analyses of any number of pictures, on disk, that go on from wherever they stopped."""

from __future__ import annotations

from vitscope.cli.commands.study import create, export, migrate, run, site, status
from vitscope.cli.shared.usage import Commands

application = Commands(
    name="study", no_args_is_help=True, help="Analyses of any number of pictures, on disk, resumable."
)
application.add(
    "vitscope study create birds-study --model timm/deit_tiny_patch16_224 --weights deit.safetensors --images birds "
    "--analyses explain,evaluate,strength --methods gmar,daam"
)(create.create)
application.add(
    "vitscope study run birds-study. On two workers of Ray: vitscope study run birds-study --engine ray --workers 2"
)(run.run)
application.add("vitscope study status birds-study --verify")(status.status)
application.add("vitscope study export birds-study tables --format csv --table scores")(export.export)
application.add("vitscope study site birds-study birds-site")(site.site)
application.add("vitscope study migrate birds-study")(migrate.migrate)
