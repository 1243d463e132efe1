"""environment.yml, pyproject.toml, constraints.txt, package.json and what is installed stay in step."""

import importlib.metadata as metadata
import json
import pathlib
import re
import sys
import tomllib

import anywidget
import ipywidgets
import pytest
import vendor
import yaml
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.version import Version

ROOT = pathlib.Path(__file__).parents[2]
ENVIRONMENT = yaml.safe_load((ROOT / "environment.yml").read_text(encoding="utf-8"))
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
CONDA = [entry for entry in ENVIRONMENT["dependencies"] if isinstance(entry, str)]
PIP = next(entry["pip"] for entry in ENVIRONMENT["dependencies"] if isinstance(entry, dict))
PACKAGE_JSON = json.loads((ROOT / "package.json").read_text(encoding="utf-8"))
LOCK = json.loads((ROOT / "package-lock.json").read_text(encoding="utf-8"))


def requirements(extra: str | None = None) -> list[Requirement]:
    """The requirements of the package or of one extra; an extra that names the package itself is opened up."""
    listed = PROJECT["dependencies"] if extra is None else PROJECT["optional-dependencies"][extra]
    found = []
    for requirement in map(Requirement, listed):
        if requirement.name == PROJECT["name"]:
            for inner in sorted(requirement.extras):
                found += requirements(inner)
        elif not requirement.marker or requirement.marker.evaluate():
            found.append(requirement)
    return found


def constraints() -> list[Requirement]:
    lines = (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    return [Requirement(line) for line in lines if line.strip() and not line.startswith("#")]


def caret_allows(caret: str, version: str) -> bool:
    """npm's ^1.2.3: at least this version, and the same major version."""
    low = Version(caret.removeprefix("^"))
    return low <= Version(version) < Version(f"{low.major + 1}")


def test_only_python_and_pip_come_from_conda_and_the_rest_from_pyproject():
    assert {entry.split("=")[0] for entry in CONDA} == {"python", "pip"}
    assert PIP == ["-e .[dev]"]
    assert ENVIRONMENT["name"] == PROJECT["name"]


def test_conda_python_is_the_oldest_that_pyproject_allows():
    pin = next(entry for entry in CONDA if entry.startswith("python")).split("=", 1)[1]
    allowed = SpecifierSet(PROJECT["requires-python"])
    assert allowed.contains(f"{pin}.0")
    major, minor = map(int, pin.split("."))
    assert not allowed.contains(f"{major}.{minor - 1}.99")


def test_this_python_is_allowed():
    assert SpecifierSet(PROJECT["requires-python"]).contains(".".join(map(str, sys.version_info[:3])))


@pytest.mark.parametrize("extra", [None, "book", "dev"])
def test_installed_packages_satisfy_pyproject(extra):
    bad = []
    for requirement in requirements(extra):
        try:
            installed = metadata.version(requirement.name)
        except metadata.PackageNotFoundError:
            bad.append(f"{requirement} is not installed")
            continue
        if not requirement.specifier.contains(installed, prereleases=True):
            bad.append(f"{requirement}, but {installed} is installed")
    assert not bad


def test_dev_contains_book():
    assert {r.name for r in requirements("book")} <= {r.name for r in requirements("dev")}


def test_installed_packages_are_those_of_the_constraints():
    pinned = {r.name: r.specifier for r in constraints()}
    bad = [name for name, pin in pinned.items() if not pin.contains(metadata.version(name), prereleases=True)]
    assert not bad, "run `make install`"


def test_constraints_pin_exactly_and_agree_with_pyproject():
    wanted = {r.name: r.specifier for r in requirements() + requirements("dev")}
    for pin in constraints():
        version = re.fullmatch(r"==([^,*]+)", str(pin.specifier))
        assert version, f"{pin} is not an exact pin"
        if pin.name in wanted:
            assert wanted[pin.name].contains(version[1], prereleases=True), pin.name


def test_npm_pins_are_exact_and_equal_the_lock_file():
    for name, version in PACKAGE_JSON["dependencies"].items():
        assert re.fullmatch(r"\d+\.\d+\.\d+", version), f"{name} is not pinned exactly"
        assert LOCK["packages"][f"node_modules/{name}"]["version"] == version
    assert LOCK["packages"][""]["dependencies"] == PACKAGE_JSON["dependencies"]


def test_lock_file_has_a_hash_for_everything_and_names_no_host():
    for path, entry in LOCK["packages"].items():
        if path:
            assert entry["integrity"].startswith("sha512-"), path
            assert "resolved" not in entry, path


def test_widget_manager_of_the_built_book_fits_ipywidgets():
    wanted = ipywidgets._version.__html_manager_version__
    assert caret_allows(wanted, PACKAGE_JSON["dependencies"]["@jupyter-widgets/html-manager"])


def test_anywidget_script_of_the_built_book_is_the_installed_one():
    """The script is copied from the pip package, so its version is the one that wrote the widgets' state."""
    script = vendor.anywidget_script()
    assert script.is_file()
    assert "anywidget" in {target.removesuffix(".js") for _, target in vendor.plan(ROOT / "node_modules")}
    assert metadata.version("anywidget") == anywidget.__version__
