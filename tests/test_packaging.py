"""What `pip install` brings: packages, data files, entry points; the wheel itself, file by file."""

from __future__ import annotations

import ast
import shutil
import subprocess
import sys
import tomllib
from fnmatch import fnmatch
from importlib.util import find_spec
from pathlib import Path
from typing import Any
from zipfile import ZipFile

import pytest
from packaging.requirements import Requirement

import murakkab
from murakkab.targets.library import ENTRY_POINTS, load_library

ROOT = Path(__file__).parents[1]
PROJECT: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))
SETUPTOOLS = PROJECT["tool"]["setuptools"]
APART = {"tests", "docs", "benchmarks", "examples", "typings", "build", "dist"}
ROOT_FILES = {"__init__.py", "__main__.py", "api.py", "py.typed"}
DATA = (
    "grammar/*.json",
    "grammar/*.lark",
    "compiler/std/*.mkb",
    "targets/catalog/*.toml",
    "targets/library/*.toml",
    "targets/profiles/*.csv",
    "targets/schemas/*.json",
)


def folders(root: Path) -> list[Path]:
    """Return the folders of the package and all below, relative; caches and hidden ones apart."""
    found = []
    for folder in sorted(root.iterdir()):
        name = folder.name
        hidden = name.startswith((".", "__")) or name.endswith(".egg-info")
        if folder.is_dir() and not hidden and not (root == ROOT and name in APART):
            found += [folder.relative_to(ROOT), *folders(folder)]
    return found


def folder_of(package: str) -> Path:
    """Return where a package of `packages` lives, relative to the root."""
    return Path(*package.split(".")[1:])


def data_files() -> set[str]:
    """Return every data file of the package on disk, relative, with forward slashes."""
    return {str(p.relative_to(ROOT)) for pattern in DATA for p in ROOT.glob(pattern)} | {"py.typed"}


def python_files() -> set[str]:
    """Return every Python file of the package on disk, relative, with forward slashes."""
    inside = {str(p.relative_to(ROOT)) for f in folders(ROOT) for p in (ROOT / f).glob("*.py")}
    return inside | {name for name in ROOT_FILES if name.endswith(".py")}


def test_packages_are_the_folders_on_disk() -> None:
    on_disk = {f for f in folders(ROOT) if (ROOT / f / "__init__.py").exists()}
    assert {folder_of(p) for p in SETUPTOOLS["packages"]} == on_disk | {Path()}
    assert SETUPTOOLS["package-dir"] == {"murakkab": "."}


def test_no_python_file_stands_outside_a_package() -> None:
    packages = {ROOT / folder_of(p) for p in SETUPTOOLS["packages"]}
    assert [f for f in python_files() if (ROOT / f).parent not in packages] == []
    assert {p.name for p in ROOT.glob("*.py")} | {"py.typed"} == ROOT_FILES


def test_package_data_globs_cover_exactly_the_data_files() -> None:
    covered = {
        str(path.relative_to(ROOT))
        for package, patterns in SETUPTOOLS["package-data"].items()
        for pattern in patterns
        for path in (ROOT / folder_of(package)).glob(pattern)
    }
    assert covered == data_files()


@pytest.mark.parametrize("pattern", DATA)
def test_every_data_folder_has_files(pattern: str) -> None:
    assert list(ROOT.glob(pattern)), f"nothing matches {pattern}: has the folder moved?"


def test_package_folders_hold_nothing_but_code_and_data() -> None:
    known = python_files() | data_files()
    strays = [
        str(path.relative_to(ROOT))
        for folder in folders(ROOT)
        for path in (ROOT / folder).iterdir()
        if path.is_file() and str(path.relative_to(ROOT)) not in known
    ]
    assert strays == [], "add them to package-data or move them"


# ---- the wheel


@pytest.fixture(scope="session")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Build the wheel from a copy of the tree: a build inside it would leave `build/` behind."""
    tree, out = tmp_path_factory.mktemp("tree"), tmp_path_factory.mktemp("wheel")
    for name in ("pyproject.toml", "README.md", *ROOT_FILES):
        if (ROOT / name).exists():
            shutil.copy(ROOT / name, tree / name)
    for folder in (*{f.parts[0] for f in folders(ROOT)}, "tests", "examples", "typings"):
        skip = shutil.ignore_patterns("__pycache__")
        shutil.copytree(ROOT / folder, tree / folder, symlinks=True, ignore=skip)
    command = [sys.executable, "-m", "pip", "wheel", str(tree), "-w", str(out), "-q"]
    offline = ["--no-deps", "--no-build-isolation", "--no-index", "--disable-pip-version-check"]
    done = subprocess.run([*command, *offline], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    (built,) = out.glob("*.whl")
    return built


def test_wheel_holds_the_package_and_nothing_else(wheel: Path) -> None:
    inside = set(ZipFile(wheel).namelist())
    meta = {name for name in inside if name.split("/")[0].endswith(".dist-info")}
    expected = {f"murakkab/{name}" for name in python_files() | data_files()}
    assert inside - meta == expected
    assert {name.partition("/")[2] for name in meta} >= {"METADATA", "RECORD", "entry_points.txt"}


def test_wheel_has_the_version_and_the_python_that_is_stated(wheel: Path) -> None:
    (name,) = (n for n in ZipFile(wheel).namelist() if n.endswith("METADATA"))
    metadata = ZipFile(wheel).read(name).decode().splitlines()
    assert f"Version: {murakkab.__version__}" in metadata
    assert f"Requires-Python: {PROJECT['project']['requires-python']}" in metadata


def test_wheel_is_the_same_bytes_of_code_as_the_tree(wheel: Path) -> None:
    with ZipFile(wheel) as archive:
        for name in sorted(python_files() | data_files()):
            assert archive.read(f"murakkab/{name}") == (ROOT / name).read_bytes(), name


# ---- names that others rely on


def test_typings_link_to_every_package_folder_and_root_file() -> None:
    links = ROOT / "typings" / "murakkab"
    top = {f.name for f in folders(ROOT) if len(f.parts) == 1} | ROOT_FILES
    found = {p.name: p for p in links.iterdir() if p.name != "__pycache__"}
    assert set(found) == top
    for name, link in found.items():
        assert link.is_symlink(), f"typings/murakkab/{name} is a copy, not a link"
        assert not Path(link.readlink()).is_absolute(), "an absolute link breaks in other clones"
        assert link.resolve() == ROOT / name


def entries() -> dict[str, str]:
    return dict(PROJECT["project"]["entry-points"][ENTRY_POINTS])


def defines(place: str) -> bool:
    """Tell whether `module:function` exists, without running the module."""
    module, _, function = place.partition(":")
    spec = find_spec(module)
    if spec is None or spec.origin is None:
        return False
    tree = ast.parse(Path(spec.origin).read_text("utf-8"))
    kinds = (ast.FunctionDef, ast.AsyncFunctionDef)
    return any(isinstance(node, kinds) and node.name == function for node in tree.body)


def test_entry_points_and_scripts_name_functions_that_exist() -> None:
    places = {**PROJECT["project"]["scripts"], **entries()}
    assert [f"{name} = {place}" for name, place in places.items() if not defines(place)] == []


def test_shipped_executors_and_entry_points_name_each_other() -> None:
    shipped = load_library().executors
    used = {e.entry for e in shipped if e.runner == "python"}
    assert used == set(entries())


def test_names_are_imported_from_where_the_entry_points_say() -> None:
    # the runtime resolves shipped names without asking package metadata; both must agree
    tree = ast.parse((ROOT / "runtime/entries.py").read_text("utf-8"))
    (table,) = (
        node.value
        for node in tree.body
        if isinstance(node, ast.Assign)
        and isinstance(node.targets[0], ast.Name)
        and node.targets[0].id == "_SHIPPED"
    )
    base = "murakkab.runtime.executors."
    resolved = {k: f"{base}{module}:{k}" for k, module in ast.literal_eval(table).items()}
    assert resolved == entries()


# ---- versions


def requirement(name: str) -> Requirement:
    found = [Requirement(text) for text in PROJECT["project"]["dependencies"]]
    (one,) = (r for r in found if r.name == name)
    return one


@pytest.mark.parametrize(
    ("version", "allowed"), [("1.2.2", True), ("1.3.1", True), ("2.0.0", False)]
)
def test_lark_range_admits_the_version_that_vllm_pins(version: str, allowed: bool) -> None:
    assert requirement("lark").specifier.contains(version) is allowed


def test_every_dependency_has_a_lower_bound() -> None:
    texts = PROJECT["project"]["dependencies"]
    bounds = {r.name: {s.operator for s in r.specifier} for r in map(Requirement, texts)}
    assert [name for name, operators in bounds.items() if ">=" not in operators] == []


def test_version_is_written_once() -> None:
    assert PROJECT["project"]["dynamic"] == ["version"]
    assert SETUPTOOLS["dynamic"]["version"] == {"attr": "murakkab.__version__"}
    quoted = f'"{murakkab.__version__}"'
    holders = [f for f in sorted(python_files()) if quoted in (ROOT / f).read_text("utf-8")]
    assert holders == ["__init__.py"]
    assert quoted not in (ROOT / "pyproject.toml").read_text("utf-8")


@pytest.mark.parametrize("name", sorted(data_files()))
def test_data_files_are_text_in_utf8(name: str) -> None:
    text = (ROOT / name).read_bytes().decode("utf-8")
    assert "\r" not in text and "\0" not in text
    assert fnmatch(name, "py.typed") or text.endswith("\n")
