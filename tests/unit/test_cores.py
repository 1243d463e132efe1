"""How many threads a process starts where a container or a service limits its CPU time."""

import math
import os

import pytest

from tl_helpers import runtime


@pytest.fixture
def system(tmp_path):
    """Write the files of a pretended system: which control group the process is in, and what its files say."""

    def write(own: str, **files: str):
        (tmp_path / "proc/self").mkdir(parents=True)
        (tmp_path / "proc/self/cgroup").write_text(own)
        for name, text in files.items():
            path = tmp_path / "sys/fs/cgroup" / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
        return tmp_path

    return write


@pytest.mark.parametrize(
    ("own", "files", "quota"),
    [
        ("0::/\n", {"cpu.max": "250000 100000\n"}, 2.5),  # a container that sees itself as the root
        ("0::/\n", {"cpu.max": "max 100000\n"}, math.inf),
        ("0::/a.slice/b.service\n", {"a.slice/b.service/cpu.max": "150000 100000\n"}, 1.5),  # a service: no container
        ("0::/a/b\n", {"a/cpu.max": "50000 100000\n", "a/b/cpu.max": "300000 100000\n"}, 0.5),
        ("0::/a/b\n", {"a/cpu.max": "max 100000\n", "a/b/cpu.max": "300000 100000\n"}, 3.0),
        ("0::/a/b\n", {"a/c/cpu.max": "100000 100000\n"}, math.inf),  # another's
        ("0::/../x\n", {"cpu.max": "200000 100000\n"}, 2.0),
        (
            "7:memory:/docker/1\n5:cpu,cpuacct:/docker/1\n1:cpuset:/docker/1\n0::/\n",  # version 1 in a container,
            {"cpu/cpu.cfs_quota_us": "300000\n", "cpu/cpu.cfs_period_us": "100000\n"},  # which has only its own files
            3.0,
        ),
        ("1:cpu:/\n", {"cpu/cpu.cfs_quota_us": "-1\n", "cpu/cpu.cfs_period_us": "100000\n"}, math.inf),
        ("1:cpu:/a\n", {"cpu/a/cpu.cfs_quota_us": "100000\n"}, math.inf),  # its other half is missing
        ("1:cpuset:/\n", {"cpu/cpu.cfs_quota_us": "100000\n", "cpu/cpu.cfs_period_us": "100000\n"}, math.inf),
        ("0::/\n", {"cpu.max": ""}, math.inf),
        ("0::/\n", {"cpu.max": "100000 0\n"}, math.inf),
        ("0::/\n", {"cpu.max": "many few\n"}, math.inf),
        ("0::/with:colon and space\n", {"with:colon and space/cpu.max": "200000 100000\n"}, 2.0),
        ("", {}, math.inf),
    ],
)
def test_the_least_quota_of_a_group_and_those_above_it(system, own, files, quota):
    assert runtime._quota(system(own, **files)) == quota


def test_no_control_groups_no_quota(tmp_path):
    assert runtime._quota(tmp_path) == math.inf


@pytest.mark.parametrize(("quota", "cores"), [(math.inf, 4), (9.5, 4), (2.5, 2), (1.0, 1), (0.2, 1)])
def test_threads_by_quota_and_affinity(monkeypatch, quota, cores):
    monkeypatch.delenv("TL_THREADS")
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: {0, 2, 3, 7}, raising=False)
    monkeypatch.setattr(runtime, "_quota", lambda: quota)
    set_to = []
    monkeypatch.setattr(runtime.torch, "set_num_threads", set_to.append)
    assert runtime.current().threads == cores
    assert set_to == [cores]


def test_without_affinity_all_cores_count(monkeypatch):
    monkeypatch.delattr(os, "sched_getaffinity", raising=False)
    monkeypatch.setattr(os, "cpu_count", lambda: 6)
    monkeypatch.setattr(runtime, "_quota", lambda: math.inf)
    assert runtime._cores() == 6


def test_what_the_reader_says_goes_before_a_quota(monkeypatch):
    monkeypatch.setenv("TL_THREADS", "3")
    monkeypatch.setattr(runtime, "_quota", lambda: 1.0)
    monkeypatch.setattr(runtime.torch, "set_num_threads", lambda threads: None)
    assert runtime.current().threads == 3
