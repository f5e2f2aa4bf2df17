"""The house: which room may import which, how large a file may be, how light `import lab` is."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
LAB = ROOT / "lab"
FILES = sorted(LAB.rglob("*.py"))
ROOF = ("lab.cli", "lab.commands", "lab.report", "lab.study", "lab.plot", "lab.sweeps")
GROUND = ("lab.data", "lab.objectives", "lab.models", "lab.arrays", "lab.streams", "lab.errors", "lab.params",
          "lab.domains", "lab.claims", "lab.measure", "lab.law")  # fmt: skip


def module(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def imports(path: Path, *, top_level: bool) -> set[str]:
    """Modules that a file imports; with `top_level` only those that importing it loads (not inside functions)."""
    tree = ast.parse(path.read_text())
    inside = set()
    if top_level:
        for node in ast.walk(tree):
            typing_only = isinstance(node, ast.If) and getattr(node.test, "id", "") == "TYPE_CHECKING"
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda) or typing_only:
                inside |= {id(child) for child in ast.walk(node)}
    found = set()
    for node in ast.walk(tree):
        if id(node) in inside:
            continue
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
    return found


def under(name: str, rooms: tuple[str, ...]) -> bool:
    return any(name == room or name.startswith(room + ".") for room in rooms)


@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(ROOT)))
def test_imports_point_downwards(path):
    name, used = module(path), imports(path, top_level=False)
    if name.startswith("lab.systems."):
        system = name.split(".")[2]
        others = {m for m in used if m.startswith("lab.systems.") and m.split(".")[2] != system}
        assert not others, f"{name} imports another pillar: {others}"
        assert not {m for m in used if under(m, ROOF)}, f"{name} imports the roof"
    if under(name, ("lab.data", "lab.objectives", "lab.models", "lab.arrays", "lab.streams", "lab.errors")):
        assert not {m for m in used if under(m, ("lab.systems", *ROOF))}, f"{name} imports upwards"
    if under(name, GROUND):
        at_import = imports(path, top_level=True)
        assert not {m for m in at_import if under(m, ("lab.systems", *ROOF))}, f"{name} loads a higher room"


@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(ROOT)))
def test_array_libraries_enter_through_their_seam(path):
    heavy = {m.partition(".")[0] for m in imports(path, top_level=True)} & {"jax", "torch", "pandas", "pyarrow", "dask"}
    assert not heavy, f"{module(path)} loads {heavy} when imported; import inside the function that needs it"


@pytest.mark.parametrize("path", [*FILES, *(ROOT / "experiments").glob("*.py")], ids=lambda p: str(p.relative_to(ROOT)))
def test_a_file_is_about_one_thing(path):
    lines = len(path.read_text().splitlines())
    assert lines <= 400, f"{path.name} has {lines} lines; split it by subject"


def test_import_lab_is_light():
    code = "import sys, lab; print([m for m in ('jax', 'torch', 'pandas', 'numpy', 'pydantic') if m in sys.modules])"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert loaded.strip() == "[]"


def test_import_lab_takes_less_than_its_budget():
    """Budget .4 s of processor time (wall time would measure the neighbours), the least of three starts."""
    code = "import time; t = time.process_time(); import lab; lab.Law, lab.Params; print(time.process_time() - t)"
    runs = [subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True) for _ in range(3)]
    assert min(float(run.stdout) for run in runs) < 0.4


def test_laws_and_theory_have_the_same_rooms():
    for laws in LAB.glob("systems/*/laws"):
        theory = {p.stem for p in (laws.parent / "theory").glob("*.py")}
        assert {p.stem for p in laws.glob("*.py")} <= theory, f"{laws}: laws without closed forms"


def test_public_names_resolve():
    import lab

    for name in lab.__all__:
        assert callable(getattr(lab, name)), name
    with pytest.raises(AttributeError):
        _ = lab.no_such_name
