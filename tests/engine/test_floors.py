"""What the host's kernel lacks is named with the command that mends it."""

from __future__ import annotations

from pathlib import Path

import pytest

from coderunner.engine import floors
from coderunner.engine.floors import FILTER_BYTES
from coderunner.engine.states import EngineInfo
from coderunner.schema.engine import EngineFacts, EngineVersion

GIB = 1024**3
GOOD = {
    "kernel/pty/max": "4096",
    "kernel/pty/reserve": "1024",
    "net/core/bpf_jit_limit": "528482304",
    "net/ipv4/tcp_mem": "16384\t24576\t32768",
    "net/ipv4/udp_mem": "16384\t24576\t32768",
    "net/ipv4/neigh/default/gc_thresh3": "4096",
}


def written(folder: Path, **changes: str | None) -> Path:
    for name, text in {**GOOD, **{key.replace("__", "/"): value for key, value in changes.items()}}.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if text is not None:
            path.write_text(text + "\n")
    return folder


def test_a_host_that_is_set_up_has_nothing_to_mend(tmp_path: Path) -> None:
    assert floors.floors(62, 4 * GIB, written(tmp_path)) == []


@pytest.mark.parametrize(
    ("changes", "command"),
    [
        ({"kernel__pty__max": "2048"}, "sysctl -w kernel.pty.max=3072"),
        ({"net__core__bpf_jit_limit": "100000"}, f"sysctl -w net.core.bpf_jit_limit={62 * FILTER_BYTES}"),
        ({"net__ipv4__tcp_mem": "1 2 999999"}, "sysctl -w net.ipv4.tcp_mem='32768 49152 65536'"),
        (
            {"net__ipv4__neigh__default__gc_thresh3": "1024"},
            "sysctl -w net.ipv4.neigh.default.gc_thresh3=1318",
        ),
        ({"net__ipv4__udp_mem": "1 2 999999"}, "sysctl -w net.ipv4.udp_mem='32768 49152 65536'"),
    ],
)
def test_what_is_below_its_floor_is_named(tmp_path: Path, changes: dict[str, str], command: str) -> None:
    (text,) = floors.floors(62, 4 * GIB, written(tmp_path, **changes))
    assert command in text


def test_what_cannot_be_read_is_not_judged(tmp_path: Path) -> None:
    assert floors.floors(62, 4 * GIB, tmp_path) == []
    odd = written(tmp_path, net__core__bpf_jit_limit="", net__ipv4__tcp_mem="a b c")
    assert floors.floors(62, 4 * GIB, odd) == []


def test_the_file_of_the_guide_is_enough_for_the_usual_server(tmp_path: Path) -> None:
    """The file that docs/deployment.md installs, on the machine that it asks for."""
    text = (Path(__file__).parents[2] / "deploy/coderunner.sysctl.conf").read_text("utf-8")
    pairs = [line.split(" = ") for line in text.splitlines() if line and not line.startswith("#")]
    folder = written(tmp_path, **{name.replace(".", "__"): value for name, value in pairs})
    assert {name.replace(".", "/") for name, _ in pairs} < {*GOOD}
    assert floors.floors(62, 4 * GIB, folder) == []


def info(*security: str) -> EngineInfo:
    return EngineInfo.of(EngineVersion(), EngineFacts(security_options=security), "v1.41")


def test_confinement_is_what_the_engine_says(tmp_path: Path) -> None:
    seccomp = "name=seccomp,profile=default"
    assert floors.confinement(info(seccomp, "name=apparmor")) == "apparmor"
    assert floors.confinement(info(seccomp, "name=selinux")) == "selinux"
    assert floors.confinement(info(seccomp)) == "none"


def test_a_kernel_that_could_confine_is_named(tmp_path: Path) -> None:
    assert floors.unconfined(info(), tmp_path) == []
    enabled = tmp_path / "module/apparmor/parameters/enabled"
    enabled.parent.mkdir(parents=True)
    enabled.write_text("Y\n")
    assert "apt-get install apparmor" in floors.unconfined(info(), tmp_path)[0]
    assert floors.unconfined(info("name=apparmor"), tmp_path) == []
    enabled.write_text("N\n")
    assert floors.unconfined(info(), tmp_path) == []
