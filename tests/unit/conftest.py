"""Every unit test has a cache folder of its own, one thread, and no progress bars."""

import os
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

# Nothing depends on a clock or on an earlier run: no deadlines, and the same examples each time. To search for others:
# pytest --hypothesis-profile=default --hypothesis-seed=random
settings.register_profile("book", deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("book")


def plain_settings(monkeypatch: pytest.MonkeyPatch, cache: Path) -> None:
    """Not what the reader of this machine has set or stored."""
    from tl_helpers import runtime  # here: the process that hands out tests to others needs no torch

    for name, value in {"TL_CACHE": str(cache), "TL_THREADS": "1", "TL_DEVICE": "cpu", "TL_PROGRESS": "0"}.items():
        monkeypatch.setenv(name, value)
    for name in ("TL_PRECISION", "TL_ENGINE", "TL_FRESH", "TL_ONLINE", "TL_SEED_BASE"):
        monkeypatch.delenv(name, raising=False)
    runtime.current.cache_clear()


@pytest.fixture(autouse=True, scope="session")
def common_cache(tmp_path_factory):
    """Where a module's fixture reads and stores, before `own_cache` of the first test that asks for it; cold at first."""
    base = tmp_path_factory.getbasetemp()
    folder = (base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / "common-cache"  # of all workers
    with pytest.MonkeyPatch.context() as monkeypatch:
        plain_settings(monkeypatch, folder)
        yield folder


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    """A fresh runtime on a cold cache."""
    from tl_helpers import runtime

    plain_settings(monkeypatch, tmp_path / "cache")
    yield tmp_path / "cache"
    runtime.current.cache_clear()


@pytest.fixture
def decoded_once(own_cache, common_cache):
    """For tests that are about what is in the images: those of the packaged tasks are decoded once for all of them."""
    images = common_cache / "images"
    images.mkdir(parents=True, exist_ok=True)
    own_cache.mkdir(exist_ok=True)
    (own_cache / "images").symlink_to(images)
