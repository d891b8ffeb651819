"""The built page, from its folder alone; and what is said where it was not built."""

from __future__ import annotations

from pathlib import Path

from fastapi.responses import PlainTextResponse, Response
from starlette.exceptions import HTTPException
from starlette.staticfiles import StaticFiles
from starlette.types import Scope

PAGE = Path(__file__).parents[1] / "page"
"""Where the page is built to."""
MISSING = (
    "vitscope is running, but its page was not built into this installation.\n\n"
    "In a checkout: make page (needs Node 20 or newer), then load this page again.\n"
    "Else: pip install vitscope from a wheel, which holds the page.\n\n"
    "The API answers all the same: api/about, api/methods, api/pictures, api/openapi.json.\n"
)


class Page(StaticFiles):
    """The files of the built page; their names hold a hash of their content, but for ``index.html``.

    Args:
        folder: Where the page was built to.
    """

    def __init__(self, folder: Path = PAGE) -> None:
        super().__init__(directory=folder, html=True, check_dir=False, follow_symlink=False)
        self._index = folder / "index.html"

    async def check_config(self) -> None:
        """Nothing is wrong with a folder that is not there: the page may be built while the server runs."""
        if self._index.is_file():
            await super().check_config()

    async def get_response(self, path: str, scope: Scope) -> Response:
        """A file of the page. Raises 404 for anything else."""
        if not self._index.is_file():
            if path not in (".", "", "index.html"):
                raise HTTPException(404)
            return PlainTextResponse(MISSING, 200, headers={"Cache-Control": "no-store"})
        answer = await super().get_response(path, scope)
        hashed = path.startswith("assets/") and answer.status_code == 200
        answer.headers["Cache-Control"] = "private, max-age=31536000, immutable" if hashed else "no-cache"
        return answer


def has_page() -> bool:
    """Whether the page was built."""
    return (PAGE / "index.html").is_file()
