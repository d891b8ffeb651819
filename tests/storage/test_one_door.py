"""Only ``storage/`` opens files for writing: read from the source, and watched while commands run."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import vitscope

SOURCE = Path(vitscope.__file__).parent

WRITERS = {
    "write_text", "write_bytes", "touch", "symlink_to", "hardlink_to", "tofile", "savez", "savez_compressed", "savetxt",
    "save_file", "write_table", "ParquetWriter", "to_parquet", "to_pickle", "to_feather", "to_hdf",
    "to_excel", "to_orc", "to_stata",
    "memmap", "open_memmap", "copyfile", "copy2", "copytree", "mkstemp", "NamedTemporaryFile", "TemporaryFile",
}  # fmt: skip
"""Calls that put something on disk, whatever they are called on."""
OF_MODULES = {
    ("os", name)
    for name in ("replace", "rename", "link", "symlink", "mkdir", "makedirs", "mkfifo", "write", "truncate")
} | {(m, "save") for m in ("np", "numpy", "torch")} | {(m, "dump") for m in ("json", "pickle", "marshal")}  # fmt: skip


def writing_calls(tree: ast.AST, room: str) -> list[str]:
    """What in a module puts something on disk, as ``line: call``."""
    found = []
    for node in ast.walk(tree):
        if not isinstance(node, ast.Call):
            continue
        of = node.func.value if isinstance(node.func, ast.Attribute) else None
        name = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
        first = node.args[0] if node.args else None
        in_memory = isinstance(first, ast.Name) and first.id in ("buffer", "sink", "stream")
        module = of.id if isinstance(of, ast.Name) else ""
        writes = (name in WRITERS or (module, name) in OF_MODULES) and not in_memory
        writes &= (module, name) != (
            "writer",
            "write_table",
        )  # where a ParquetWriter writes is said when it is made
        writes |= name == "mkdir" and of is not None
        writes |= name in ("open", "fdopen") and not in_memory and _opens_for_writing(node, module)
        writes |= name == "to_csv" and (
            bool(node.args) or any(k.arg in ("path", "path_or_buf") for k in node.keywords)
        )
        # Pictures and figures: everywhere they are made, they are made in memory.
        writes |= room == "rendering" and name in ("save", "savefig") and not in_memory
        if writes:
            found.append(f"{node.lineno}: {ast.unparse(node)[:80]}")
    return found


def _opens_for_writing(call: ast.Call, module: str) -> bool:
    if module == "os":
        return not any(isinstance(arg, ast.Attribute) and arg.attr == "devnull" for arg in call.args)
    is_method = isinstance(call.func, ast.Attribute) and module not in ("io", "gzip", "bz2", "lzma", "codecs")
    modes = [k.value for k in call.keywords if k.arg == "mode"]
    modes += call.args[:1] if is_method and not modes else call.args[1:2]
    for mode in modes:
        if isinstance(mode, ast.Constant) and isinstance(mode.value, str):
            if set(mode.value) <= set("rbtwax+U") and set(mode.value) & set("wax+"):
                return True
        elif not is_method:
            return True
    return False


def test_no_module_outside_storage_writes() -> None:
    found = {}
    for path in sorted(SOURCE.rglob("*.py")):
        place = path.relative_to(SOURCE)
        if place.parts[0] != "storage":
            calls = writing_calls(ast.parse(path.read_text()), place.parts[0])
            # A second handle on standard output, which is open already, is no file.
            calls = [
                call for call in calls if "os.fdopen(kept, 'w'" not in call or place.name != "terminal.py"
            ]
            if calls:
                found[place.as_posix()] = calls
    assert found == {}


@pytest.mark.parametrize(
    "line",
    [
        "open(path, 'w')", "open(path, mode='ab')", "path.open('w')", "path.open(mode='x')", "io.open(path, 'r+')",
        "open(path, mode)", "path.write_text('')", "path.write_bytes(b'')", "frame.to_parquet(path)",
        "frame.to_csv(path)", "torch.save(x, path)", "np.save(path, x)", "np.savez(path, x)", "save_file(x, path)",
        "json.dump(x, f)", "os.open(path, flags)", "os.replace(a, b)", "path.mkdir()", "picture.save(path)",
        "figure.savefig(path)", "tempfile.NamedTemporaryFile()",
        "pq.ParquetWriter(path, schema)", "pq.write_table(table, path)",
    ],
)  # fmt: skip
def test_the_scan_sees(line: str) -> None:
    assert writing_calls(ast.parse(line), "rendering")


@pytest.mark.parametrize(
    "line",
    [
        "open(path)", "open(path, 'rb')", "path.open('rb')", "Image.open(path)", "picture.save(buffer, 'PNG')",
        "frame.to_csv(index=False)", "text.replace('a', 'b')", "os.open(os.devnull, os.O_WRONLY)", "x.save",
        "av.open(buffer, mode='w')", "vs.open_model('w')", "pq.ParquetWriter(sink, schema)",
        "writer.write_table(table)",
    ],
)  # fmt: skip
def test_the_scan_lets_pass(line: str) -> None:
    assert not writing_calls(ast.parse(line), "rendering")


WATCHED = """
import os, sys
made, wild = set(), []

def watch(event, given):
    if event in ("os.rename", "os.link"):
        if through_storage():
            made.add(os.path.realpath(given[1]))
        return
    if event != "open":
        return
    path, mode, flags = given
    writes = set(mode or "") & set("wax+") or (flags or 0) & (os.O_WRONLY | os.O_RDWR | os.O_CREAT)
    if isinstance(path, str) and writes and os.path.realpath(path).startswith(root) and not through_storage():
        wild.append(path)

def through_storage():
    frame = sys._getframe(1)
    while frame is not None:
        if frame.f_code.co_filename.endswith("vitscope/storage/files.py"):
            return True
        frame = frame.f_back
    return False

root = os.path.realpath(sys.argv[1])
os.chdir(root)
sys.addaudithook(watch)
from vitscope.cli.application import run
model = ["--model", "bundled/shapes"]
for command in (
    ["explain", "photos", *model, "--method", "gmar,daam", "--report", "--out", "out/e"],
    ["flow", "photos/0.png", *model, "--method", "daam", "--out", "out/f"],
    ["evaluate", "photos", *model, "--method", "gmar", "--metric", "srg", "--steps", "2", "--out", "out/v"],
    ["heads", "strength", "photos", *model, "--out", "out/s"],
):
    code = run(command)
    assert code == 0, (command, code)
files = {os.path.realpath(os.path.join(folder, name)) for folder, _, names in os.walk("out") for name in names}
assert not wild, wild
assert files and files <= made, files - made
print(len(files), "files")
"""


def test_every_file_that_commands_write_came_through_storage(tmp_path: Path) -> None:
    from vitscope.rendering import save_png
    from vitscope.worlds import demo_pictures

    for index, picture in enumerate(demo_pictures(2, seed=1).images()):
        save_png(picture, tmp_path / "photos" / f"{index}.png")
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", WATCHED, str(tmp_path)],
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr[-2000:] + done.stdout[-500:]
