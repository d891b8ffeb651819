"""``vitscope heads``: which heads matter, how far they look, which patterns they have, and whether scores agree."""

from __future__ import annotations

from vitscope.cli.commands.heads import agreement, importance, look, patterns, prune, report, strength
from vitscope.cli.shared.usage import Commands

MODEL = "--model timm/deit_tiny_patch16_224 --weights deit.safetensors"

application = Commands(name="heads", no_args_is_help=True, help="What the heads of a model do.")
application.add(f"vitscope heads importance photos {MODEL} --screen 0.2 --out heads")(importance.importance)
application.add(f"vitscope heads look photo.jpg {MODEL} --query class --out heads")(look.look)
application.add(f"vitscope heads strength photos {MODEL} --out heads")(strength.strength)
application.add(f"vitscope heads patterns photos {MODEL} --out heads")(patterns.patterns)
application.add(f"vitscope heads agreement photos {MODEL} --out heads")(agreement.agreement)
application.add(f"vitscope heads prune photos {MODEL} --keep 0.7 --out model.safetensors")(prune.prune)
application.add(f"vitscope heads report photos {MODEL} --limit 100 --out heads")(report.report)
