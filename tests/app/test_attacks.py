"""Who may not ask is not answered: other names, other pages, no token, and paths that lead out."""

from __future__ import annotations

import http.client
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.app.browsing import Client
from vitscope.app.security.hosts import KnownHosts, host_of
from vitscope.app.security.tokens import Token
from vitscope.app.serving import Background
from vitscope.app.settings import Settings

NO_MODEL = "this test needs none"


def request(client: Client, *, line: str = "GET /api/jobs HTTP/1.1", **headers: str) -> bytes:
    """A request whose every byte is chosen."""
    host = headers.pop("Host", f"{client.place[0]}:{client.place[1]}")
    lines = [line, *([f"Host: {host}"] if host else []), "Connection: close"]
    lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
    return client.raw(("\r\n".join(lines) + "\r\n\r\n").encode("latin-1"))


def status(answer: bytes) -> int:
    return int(answer.split(b" ", 2)[1])


@pytest.mark.parametrize(
    ("host", "expected"),
    [
        ("{host}:{port}", 200),
        ("localhost:{port}", 200),
        ("LOCALHOST", 200),
        ("127.0.0.1:9", 200),  # through a tunnel
        ("[::1]:{port}", 200),
        ("evil.example:{port}", 403),
        ("localhost.evil.example", 403),
        ("127.0.0.1.nip.io", 403),
        ("evil@localhost", 403),
        ("localhost:{port}:80", 403),
        ("10.0.0.1", 403),
        ("", 400),
    ],
)
def test_it_answers_under_its_own_names_alone(client: Client, host: str, expected: int) -> None:
    name, port = client.place
    answer = request(client, Host=host.format(host=name, port=port))
    assert status(answer) == expected, answer[:300]
    if expected == 403:
        assert b"does not answer under the name" in answer


def test_two_names_are_one_too_many(client: Client) -> None:
    name, port = client.place
    own = f"{name}:{port}"
    answer = client.raw(
        f"GET /api/jobs HTTP/1.1\r\nHost: {own}\r\nHost: evil.example\r\nConnection: close\r\n\r\n".encode()
    )
    assert status(answer) in (400, 403)
    absolute = request(client, line="GET http://evil.example/api/jobs HTTP/1.1", Host="evil.example")
    assert status(absolute) == 403


@pytest.mark.parametrize(
    ("origin", "expected"),
    [
        ("http://{own}", 200),
        ("https://{own}", 200),  # a proxy that speaks TLS
        ("http://evil.example", 403),
        ("http://127.0.0.1:1", 403),  # another server of this machine
        ("http://{own}.evil.example", 403),
        ("null", 403),
        ("file://{own}", 403),
        ("http://evil.example@{own}", 403),
    ],
)
def test_requests_of_other_pages_are_refused(client: Client, origin: str, expected: int) -> None:
    own = f"{client.place[0]}:{client.place[1]}"
    assert status(request(client, Origin=origin.format(own=own))) == expected
    sent = client.ask("POST", "/api/pictures", b"x", Origin=origin.format(own=own))
    assert sent.status == (415 if expected == 200 else 403)


@pytest.mark.parametrize(
    ("site", "mode", "path", "expected"),
    [
        ("same-origin", "cors", "/api/jobs", 200),
        ("none", "navigate", "/api/jobs", 200),
        ("cross-site", "no-cors", "/api/jobs", 403),
        ("same-site", "no-cors", "/api/jobs", 403),
        ("cross-site", "navigate", "/api/jobs", 403),
        ("cross-site", "navigate", "/", 200),  # a link to the page
    ],
)
def test_what_a_browser_says_of_other_pages_is_believed(
    client: Client, site: str, mode: str, path: str, expected: int
) -> None:
    answer = request(client, line=f"GET {path} HTTP/1.1", Sec_Fetch_Site=site, Sec_Fetch_Mode=mode)
    assert status(answer) == expected


def test_nothing_is_given_to_other_origins(client: Client) -> None:
    for path in ("api/about", "api/nothing", "", "api/openapi.json"):
        reply = client.ask("GET", f"/{path}")
        assert not any(name.startswith("access-control") for name in reply.headers), path
        policy = reply.headers["content-security-policy"]
        assert "default-src 'self'" in policy and "unsafe" not in policy and "*" not in policy
        assert reply.headers["x-content-type-options"] == "nosniff"
        assert reply.headers["referrer-policy"] == "no-referrer"
        assert reply.headers["cross-origin-resource-policy"] == "same-origin"
    assert client.ask("OPTIONS", "/api/about", Origin="http://evil.example").status == 405
    assert client.ask("PUT", "/api/about").status == 405
    for page in ("docs", "redoc", "openapi.json"):
        assert client.get(page).status == 404


OUT = [
    "/../pyproject.toml",
    "/..%2f..%2f..%2fetc/passwd",
    "/%2e%2e/%2e%2e/etc/passwd",
    "/assets/../../routes/page.py",
    "//etc/passwd",
    "/..\\..\\etc\\passwd",
    "/assets/%00",
    "/link/passwd",
    "/link.txt",
    "/.hidden/../../secret.txt",
    "/api/pictures/..%2f..%2fetc%2fpasswd/image.png",
    "/api/pictures/%2Fetc%2Fpasswd/image.png",
]


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A built page, beside which lies what is nobody's business."""
    folder = tmp_path_factory.mktemp("built")
    (folder / "secret.txt").write_text("secret root:x")
    made = folder / "page"
    (made / "assets").mkdir(parents=True)
    (made / "index.html").write_text("<!doctype html><title>vitscope</title>")
    (made / "assets" / "index-1a2b.js").write_text("export {}")
    (made / "link").symlink_to("/etc")
    (made / "link.txt").symlink_to(folder / "secret.txt")
    return made


@pytest.fixture(scope="module")
def paged(page: Path, study_folder: Path) -> Iterator[Client]:
    """A server with a built page."""
    with Background(Settings(study=str(study_folder), why_no_model=NO_MODEL), page=page) as server:
        yield Client(server.address)


@pytest.mark.parametrize("path", OUT)
def test_no_path_leads_out(paged: Client, path: str) -> None:
    answer = request(paged, line=f"GET {path} HTTP/1.1")
    assert status(answer) in (400, 404), answer[:200]
    assert b"root:" not in answer and b"hatchling" not in answer


def test_the_page_is_served_with_its_files(paged: Client) -> None:
    index, script = paged.get(""), paged.get("assets/index-1a2b.js")
    assert index.status == 200 and index.headers["content-type"].startswith("text/html")
    assert index.headers["cache-control"] == "no-cache"
    assert script.status == 200 and "immutable" in script.headers["cache-control"]
    assert script.headers["content-type"].startswith("text/javascript")
    assert paged.get("assets/index-9.js").status == 404


def test_an_option_cannot_name_a_file(client: Client, ids: list[str]) -> None:
    for path, query in (
        ("map", {"target": "picture:/etc/passwd"}),
        ("map", {"method": "daam-self", "options": '{"bank": "/etc/passwd"}'}),
        ("map", {"method": "../../etc/passwd"}),
        ("map", {"options": '{"__class__": 1}'}),
        ("map", {"options": "[" * 5000}),
        ("map", {"off": "1.1," * 9000}),
        ("attention", {"block": 10**30}),
        ("attention", {"block": 99}),
        ("matrix", {"block": 0, "head": 99}),
    ):
        reply = client.get(f"api/pictures/{ids[0]}/{path}", **query)
        assert reply.status == 422 and reply.problem, query
        assert "root:" not in reply.body.decode()


def test_a_picture_that_was_exchanged_is_not_shown(study_folder: Path, tmp_path: Path) -> None:
    """Nothing but what the study lists: a link to another picture is another content."""
    import shutil

    import vitscope as vs

    folder = tmp_path / "copy"
    shutil.copytree(study_folder.parent / "pictures", folder / "pictures")
    study = vs.Study.create(
        folder / "study", model="bundled/shapes", images=folder / "pictures", methods=["rollout"]
    )
    study.run()
    first = next(path for path in sorted((folder / "pictures").rglob("*.png")) if "broken" not in path.name)
    other = tmp_path / "private.png"
    shutil.copy(next((study_folder.parent / "pictures").rglob("4.png")), other)
    other.write_bytes(other.read_bytes() + b"more")
    with Background(Settings(study=str(folder / "study"), why_no_model=NO_MODEL)) as server:
        client = Client(server.address)
        columns = client.get("api/pictures").json["columns"]
        id = columns["id"][columns["name"].index(first.name)]
        assert client.get(f"api/pictures/{id}/image.png", size="full").status == 200
        first.unlink()
        first.symlink_to(other)
        reply = client.get(f"api/pictures/{id}/image.png", size="full")
        assert reply.status == 415 and "was changed" in reply.problem


# ---- the token -------------------------------------------------------------------------------------------------------
@pytest.fixture(scope="module")
def guarded(study_folder: Path) -> Iterator[Background]:
    """A server with a token, below a base path."""
    settings = Settings(
        study=str(study_folder),
        why_no_model=NO_MODEL,
        token="s3cret-token",
        base_path="/lab/vitscope",
        allowed_hosts=("proxy.example",),
    )
    with Background(settings) as server:
        yield server


def test_without_the_token_nothing_is_told(guarded: Background) -> None:
    client = Client(guarded.address)
    for path in ("/lab/vitscope/", "/lab/vitscope/api/about", "/api/pictures", "/api/events", "/nothing"):
        for given in ({}, {"Authorization": "Bearer wrong"}, {"Cookie": f"vitscope-{client.place[1]}=wrong"}):
            reply = client.ask("GET", path, **given)
            assert reply.status == 401 and "wants its token" in reply.problem
    assert client.ask("POST", "/api/pictures?token=s3cret-token", b"").status == 401
    assert client.ask("GET", "/api/about?token=").status == 401
    assert client.ask("GET", "/api/about?token=S3cret-token").status == 401


def test_the_token_goes_from_the_address_into_a_cookie(guarded: Background) -> None:
    client = Client(guarded.address)
    assert guarded.address.endswith("/lab/vitscope/?token=s3cret-token")
    reply = client.ask("GET", "/lab/vitscope/?v=1&token=s3cret-token&x=%20y")
    assert reply.status == 303 and reply.headers["location"] == "./?v=1&x=+y"
    cookie = reply.headers["set-cookie"]
    assert "HttpOnly" in cookie and "SameSite=Strict" in cookie and "Path=/lab/vitscope/" in cookie
    pair = cookie.partition(";")[0]
    for path in ("/lab/vitscope/api/about", "/api/about"):  # a proxy may take the base path away
        assert client.ask("GET", path, Cookie=pair).status == 200
    assert client.ask("GET", "/api/about", Authorization="Bearer s3cret-token").status == 200
    assert client.ask("GET", "/lab/vitscope", Cookie=pair).headers["location"] == "./vitscope/"
    odd = client.ask("GET", "/javascript:alert(1)?token=s3cret-token")
    assert odd.headers["location"] == "./javascript%3Aalert%281%29"
    split = client.ask("GET", "/a%0d%0aSet-Cookie:%20x=1?token=s3cret-token")
    assert "x=1" not in split.headers.get("set-cookie", "") and split.status in (303, 400)


def test_a_proxy_that_is_allowed_is_believed(guarded: Background) -> None:
    client = Client(guarded.address)
    good = {"Authorization": "Bearer s3cret-token"}
    assert client.ask("GET", "/api/jobs", Host="proxy.example", **good).status == 200
    assert client.ask("GET", "/api/jobs", Origin="https://proxy.example", **good).status == 200
    assert client.ask("GET", "/api/jobs", Host="other.example", **good).status == 403


def test_elsewhere_than_on_this_machine_there_is_a_token(study_folder: Path) -> None:
    with Background(Settings(study=str(study_folder), why_no_model=NO_MODEL, host="0.0.0.0")) as server:
        token = server.settings.token
        assert token is not None and len(token) >= 40 and token in server.address
        connection = http.client.HTTPConnection("127.0.0.1", server.settings.port)
        connection.request("GET", "/api/about")
        assert connection.getresponse().status == 401
        connection.close()


def test_hosts_by_hand() -> None:
    local, open_ = KnownHosts("127.0.0.1"), KnownHosts("0.0.0.0", ["Proxy.Example."])
    assert "127.0.0.2:80" in local and "192.168.1.5" not in local
    assert "192.168.1.5:7860" in open_ and "proxy.example" in open_ and "evil.example" not in open_
    assert host_of("[fe80::1]:80") == "fe80::1" and host_of("[evil]:80") is None and host_of("a:b") is None
    assert host_of("a..b/c") is None and host_of("") is None


def test_a_token_does_not_show_itself() -> None:
    token = Token("s3cret", "vitscope-1")
    assert (
        "s3cret" not in repr(token)
        and token.fits("s3cret")
        and not token.fits(None)
        and not token.fits("s3cre")
    )
