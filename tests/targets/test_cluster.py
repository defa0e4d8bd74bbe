"""Cluster files: what they mean, what is wrong with them, and this host as one."""

from pathlib import Path

import pytest

from murakkab.ir.diagnostics import InputError
from murakkab.targets.catalog import load_catalog
from murakkab.targets.cluster import Cluster, Pool, load_cluster, to_toml
from murakkab.targets.detect import detect_host
from murakkab.targets.endpoint import EndpointPlan
from murakkab.targets.toml_source import shipped_toml

EXAMPLES = Path(__file__).parents[2] / "examples" / "clusters"


def findings(tmp_path: Path, text: str) -> list[tuple[str, str, str, str | None]]:
    path = tmp_path / "c.toml"
    path.write_text(text)
    with pytest.raises(InputError) as caught:
        load_cluster(path)
    return [
        (d.id, f"{d.span.line}:{d.span.column}" if d.span else "", d.message, d.help)
        for d in caught.value.diagnostics
    ]


def test_two_a100_nodes() -> None:
    cluster = load_cluster(EXAMPLES / "two-a100-nodes.toml")
    (pool,) = cluster.pools
    assert (pool.nodes, pool.gpus, pool.cpu.cores) == (2, 8, 96)
    assert pool.gpu is not None
    assert pool.gpu.type == "A100-SXM4-80GB"
    assert pool.memory_bytes == 900e9
    assert pool.usd_per_s * 3600 == pytest.approx(27.20)
    # 96 cores of a 64-core, 240 W processor
    assert pool.cpu.busy_w == pytest.approx(360)
    assert len(cluster.digest) == 64


def test_a_cluster_without_gpus_or_price() -> None:
    (pool,) = load_cluster(EXAMPLES / "laptop-cpu.toml").pools
    assert (pool.gpu, pool.gpus, pool.usd_per_s, pool.spot) == (None, 0, 0.0, False)


@pytest.mark.parametrize("name", ["two-a100-nodes", "laptop-cpu"])
def test_what_is_written_reads_back(tmp_path: Path, name: str) -> None:
    cluster = load_cluster(EXAMPLES / f"{name}.toml")
    path = tmp_path / "c.toml"
    path.write_text(to_toml(cluster))
    again = load_cluster(path)
    assert again.name == cluster.name
    assert again.pools == cluster.pools


def test_awkward_names_read_back(tmp_path: Path) -> None:
    cpu = load_catalog().cpus["generic"].node(2)
    pool = Pool('a "b"\\\n\x7fé', 1, cpu, None, 0, 2e9, 0.0, spot=True)
    path = tmp_path / "c.toml"
    path.write_text(to_toml(Cluster("n", (pool,))))
    assert load_cluster(path).pools == (pool,)


def test_endpoints_read_back(tmp_path: Path) -> None:
    path = tmp_path / "c.toml"
    path.write_text(GOOD + ENDPOINT + '[[endpoint]]\nname = "b"\nurl = "http://[::1]:8000/v1"\n')
    cluster = load_cluster(path)
    full, bare = cluster.endpoints
    assert full.plan == EndpointPlan(
        "https://h/v1", "KEY", "theirs \u00e9", 60, 1e5, 2.5, (0.25, 0.75)
    )
    assert full.concurrency == 32
    assert (bare.plan, bare.concurrency) == (EndpointPlan("http://[::1]:8000/v1"), None)
    path.write_text(to_toml(cluster))
    again = load_cluster(path).endpoints
    assert [(e.executor, e.plan, e.concurrency) for e in again] == [
        (e.executor, e.plan, e.concurrency) for e in cluster.endpoints
    ]


@pytest.mark.parametrize(
    ("line", "id", "at"),
    [
        ('url = "http://h/v1?"', "bad-value", "11:7"),
        ('url = "http://me:k@h/v1"', "bad-value", "11:7"),
        ('url = "http://h"\nkey = "k"', "unknown-key", "12:1"),
        ('url = "http://h"\nkey_env = "A B"', "bad-value", "12:11"),
        ('url = "http://h"\nconcurrency = 0', "bad-value", "12:15"),
        ("", "missing-key", "9:1"),
        (
            'url = "http://h"\n[[endpoint]]\nname = "a"\nurl = "http://g"',
            "duplicate-endpoint",
            "13:8",
        ),
    ],
)
def test_wrong_endpoints_are_found(line: str, id: str, at: str, tmp_path: Path) -> None:
    found = findings(tmp_path, f'{GOOD}[[endpoint]]\nname = "a"\n{line}\n')
    assert [(d[0], d[1]) for d in found] == [(id, at)]


ENDPOINT = """\
[[endpoint]]
name = "a"
url = "HTTPS://h/v1//"
key_env = "KEY"
model = "theirs \u00e9"
concurrency = 32
requests_per_min = 60
tokens_per_min = 1e5
max_usd = 2.5
price = { usd_per_mtok_prompt = 0.25, usd_per_mtok_output = 0.75 }
"""
GOOD = """\
name = "c"
[[pool]]
name = "p"
nodes = 1
gpu = { type = "A100-SXM4-80GB", count = 8 }
cpu = { cores = 96 }
memory = "900 GB"
price = "$27.20 / h"
"""


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        (
            "nodes = 1",
            "node = 1",
            [
                ("missing-key", "2:1", "`pool` has no `nodes`", None),
                ("unknown-key", "4:1", "unknown key `node` in `pool`", "did you mean `nodes`?"),
            ],
        ),
        (
            "A100-SXM4-80GB",
            "A100-SXM4-80G",
            [
                (
                    "unknown-gpu",
                    "5:16",
                    "no GPU `A100-SXM4-80G` in the catalogue",
                    "did you mean `A100-SXM4-80GB`?",
                )
            ],
        ),
        (
            "cores = 96",
            'type = "EPYC-7V13", cores = 96',
            [
                (
                    "unknown-cpu",
                    "6:16",
                    "no CPU `EPYC-7V13` in the catalogue",
                    "did you mean `EPYC-7V12`?",
                )
            ],
        ),
        (
            '"900 GB"',
            '"900 s"',
            [
                (
                    "bad-quantity",
                    "7:10",
                    "`900 s` is not an amount of memory",
                    "write it as in `80 GB`",
                )
            ],
        ),
        (
            '"900 GB"',
            '"900 GiB"',
            [("bad-quantity", "7:10", "unknown unit `GiB`", "write it as in `80 GB`")],
        ),
        (
            '"900 GB"',
            "900",
            [("wrong-type", "7:10", "`pool.memory` must be a string, not a number", None)],
        ),
        (
            '"$27.20 / h"',
            '"$27.20"',
            [
                (
                    "bad-quantity",
                    "8:9",
                    "`$27.20` is not a price for a time",
                    "write it as in `$27.20 / h`",
                )
            ],
        ),
        (
            "nodes = 1",
            "nodes = 0",
            [("bad-value", "4:9", "`pool.nodes` is not a number of nodes from 1 to 100000", None)],
        ),
        (
            "nodes = 1",
            "nodes = true",
            [("wrong-type", "4:9", "`pool.nodes` must be an integer, not `true`", None)],
        ),
    ],
)
def test_mistakes(
    tmp_path: Path, old: str, new: str, expected: list[tuple[str, str, str, str | None]]
) -> None:
    assert old in GOOD
    assert findings(tmp_path, GOOD.replace(old, new)) == expected


@pytest.mark.parametrize("number", ["1" + "0" * 400, "inf", "100001"])
def test_numbers_beyond_reason(tmp_path: Path, number: str) -> None:
    ids = {f[0] for f in findings(tmp_path, GOOD.replace("nodes = 1", f"nodes = {number}"))}
    assert ids <= {"bad-value", "wrong-type"}
    memory = "9" * 400 + " GB"
    (finding,) = findings(tmp_path, GOOD.replace("900 GB", memory))
    assert finding[0] == "bad-quantity"


def test_all_mistakes_at_once(tmp_path: Path) -> None:
    text = GOOD.replace("900 GB", "900 J") + GOOD.partition("\n")[2].replace("A100", "B100")
    ids = [f[0] for f in findings(tmp_path, text)]
    assert ids == ["bad-quantity", "duplicate-pool", "unknown-gpu"]


def fake_host(root: Path, quota: str, limit: str) -> Path:
    (root / "proc").mkdir()
    (root / "proc/meminfo").write_text("MemTotal:       8000000 kB\n")
    group = root / "sys/fs/cgroup"
    group.mkdir(parents=True)
    (group / "cpu.max").write_text(quota)
    (group / "memory.max").write_text(limit)
    return root


def test_host_respects_its_cgroup(tmp_path: Path) -> None:
    host = detect_host(fake_host(tmp_path, "100000 100000\n", "1000000000\n"))
    (pool,) = host.pools
    assert pool.cpu.cores == 1
    assert pool.memory_bytes == 1e9


def test_host_without_limits(tmp_path: Path) -> None:
    free = detect_host(fake_host(tmp_path, "max 100000\n", "max\n"))
    assert free.pools[0].memory_bytes == 8_000_000 * 1024
    assert free.pools[0].cpu.cores >= 1


def test_this_host_reads_back(tmp_path: Path) -> None:
    host = detect_host()
    path = tmp_path / "host.toml"
    path.write_text(to_toml(host))
    again = load_cluster(path)
    assert again.digest == host.digest
    assert again.pools[0].cpu == host.pools[0].cpu


def test_every_figure_of_the_catalogue_has_a_source() -> None:
    catalog = load_catalog()
    for figures in (catalog.gpus, catalog.cpus, catalog.models):
        assert all(row.source.strip() for row in figures.values())
    wanted = {
        "A100-40GB",
        "A100-80GB",
        "H100",
        "H200",
        "L4",
        "L40S",
        "T4",
        "A10G",
        "B200",
        "MI300X",
    }
    assert wanted <= set(catalog.gpus)
    for gpu in catalog.gpus.values():
        assert gpu.idle_w < gpu.tdp_w
        assert 1e9 < gpu.memory_bytes < 1e12


def test_sources_of_single_figures_name_figures() -> None:
    for source in shipped_toml("catalog"):
        for rows in source.data.values():
            for row in rows:
                assert set(row.get("sources", ())) <= set(row), row
