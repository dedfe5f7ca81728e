"""The shipped nginx.conf, made a test's own by plain substitutions, with a real nginx started from it.

The substitutions are the three edits that the file's header names, and what keeps a test's nginx out of the
machine's way: ports, files and temporary folders of its own.  One that finds nothing to replace is a failure,
so that the file cannot drift away from what is tested.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
import shutil
import signal
import socket
import ssl
import subprocess
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import aiohttp
from aiohttp.abc import AbstractResolver, ResolveResult

from coderunner.schema import messages as m
from tests.harness import ROOT, Client, random_id, wait_until

SHIPPED = ROOT / "nginx.conf"
NAME = "code.test"
START_SECONDS = 10
STOP_SECONDS = 10


def nginx_program() -> str:
    found = shutil.which("nginx", path=os.environ.get("PATH", "") + os.pathsep + "/usr/sbin")
    assert found, "nginx is not installed; as root: apt-get install --no-install-recommends nginx"
    return found


def free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


def has_ipv6() -> bool:
    with contextlib.suppress(OSError), socket.socket(socket.AF_INET6) as one:
        one.bind(("::1", 0))
        return True
    return False


def make_certificate(folder: Path) -> tuple[Path, Path]:
    """(certificate, key): self-signed, for the test's name."""
    certificate, key = folder / "cert.pem", folder / "key.pem"
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes",
         "-days", "2", "-subj", f"/CN={NAME}", "-addext", f"subjectAltName=DNS:{NAME},IP:127.0.0.1",
         "-keyout", str(key), "-out", str(certificate)],
        check=True, capture_output=True, timeout=30,
    )  # fmt: skip
    return certificate, key


def edit(text: str, old: str, new: str) -> str:
    assert old in text, f"nginx.conf has no {old!r} any more"
    return text.replace(old, new)


def edited(text: str, folder: Path, *, upstream: str, prefix: str, tls: int, plain: int) -> str:
    """The shipped text for this test."""
    live = "/etc/letsencrypt/live/code.example.com/"
    text = edit(text, live + "fullchain.pem", str(folder / "cert.pem"))  # EDIT 1
    text = edit(text, live + "privkey.pem", str(folder / "key.pem"))
    text = edit(text, "server_name code.example.com;", f"server_name {NAME};")
    text = edit(text, "server 127.0.0.1:3000;", f"server {upstream};")  # EDIT 2
    text = edit(text, "location / {  # EDIT 3", f"location {prefix} {{  #")  # EDIT 3

    text = edit(text, "listen 80;", f"listen 127.0.0.1:{plain};")
    text = edit(text, "listen 443 ", f"listen 127.0.0.1:{tls} ")
    text = edit(text, "listen [::]:80;", f"listen [::1]:{plain};" if has_ipv6() else "")
    text = edit(text, "listen [::]:443 ssl http2;", f"listen [::1]:{tls} ssl http2;" if has_ipv6() else "")
    text = edit(text, "user www-data;", "user root;" if os.getuid() == 0 else "")
    text = edit(text, "/run/nginx.pid", str(folder / "nginx.pid"))
    text = edit(text, "/var/log/nginx/", f"{folder}/")
    text = edit(text, "/var/www/html", str(folder / "acme"))
    kinds = ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    temporary = " ".join(f"{kind}_temp_path {folder / kind};" for kind in kinds)
    return edit(text, "http {", f"http {{ {temporary}")


class _Loopback(AbstractResolver):
    """Every name is this machine."""

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        here = ResolveResult(
            hostname=host, host="127.0.0.1", port=port, family=socket.AF_INET, proto=0, flags=0
        )
        return [here]

    async def close(self) -> None:
        pass


@dataclass
class Front:
    """A running nginx.  ``url`` ends with the prefix, ``plain`` is its HTTP address."""

    url: str
    plain: str
    folder: Path
    process: subprocess.Popen[bytes]

    def tls(self) -> ssl.SSLContext:
        return ssl.create_default_context(cafile=str(self.folder / "cert.pem"))

    def workers(self) -> set[int]:
        pid = self.process.pid
        return {int(one) for one in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()}

    def reload(self) -> set[int]:
        """As `systemctl reload nginx`; the workers of before, once new ones are there."""
        before = self.workers()
        self.process.send_signal(signal.SIGHUP)
        wait_until(lambda: self.workers() - before, START_SECONDS, "new workers")
        return before

    @contextlib.asynccontextmanager
    async def http(
        self, address: str = "127.0.0.1", *, unpack: bool = True
    ) -> AsyncIterator[aiohttp.ClientSession]:
        """An HTTP client that knows the test's name and certificate, and comes from this address."""
        connector = aiohttp.TCPConnector(
            ssl=self.tls(), resolver=_Loopback(), local_addr=(address, 0), use_dns_cache=False, limit=0
        )
        async with aiohttp.ClientSession(connector=connector, auto_decompress=unpack) as session:
            yield session

    @contextlib.asynccontextmanager
    async def connect(
        self, path: str = "ws", *, address: str = "127.0.0.1", **fields: object
    ) -> AsyncIterator[Client]:
        """A client of the protocol, through nginx."""
        fields.setdefault("protocols", ("coderunner.v1",))
        url = self.url + path
        async with self.http(address) as http, http.ws_connect(url, max_msg_size=0, **fields) as ws:
            one = Client(ws, random_id())
            try:
                yield one
            finally:
                await one.disconnect()

    @contextlib.asynccontextmanager
    async def session(self, *, address: str, **fields: object) -> AsyncIterator[Client]:
        """A client with an open session, which ends with the block."""
        async with self.connect(address=address, **fields) as one:
            await one.send(m.Open("python", one.client))
            await one.wait(lambda: one.opened, 30, "opened")
            try:
                yield one
            finally:
                if one.close_code is None:
                    with contextlib.suppress(ConnectionError):
                        await one.send(m.Close())
                        await one.closed()


@contextlib.contextmanager
def running_nginx(
    folder: Path, upstream: str, *, prefix: str = "/", alter: Callable[[str], str] = lambda text: text
) -> Iterator[Front]:
    """nginx as a child in the foreground; at the end it is gone, workers and all, which is checked.

    `alter`: what somebody made of the file."""
    tls, plain = free_port(), free_port()
    make_certificate(folder)
    link_modules(folder)
    conf = folder / "nginx.conf"
    text = SHIPPED.read_text()
    conf.write_text(alter(edited(text, folder, upstream=upstream, prefix=prefix, tls=tls, plain=plain)))
    process = subprocess.Popen(
        [nginx_program(), "-c", str(conf), "-p", str(folder), "-e", str(folder / "error.log"),
         "-g", "daemon off;"],
        stdin=subprocess.DEVNULL,
    )  # fmt: skip

    def listening() -> bool:
        assert process.poll() is None, f"nginx ended:\n{(folder / 'error.log').read_text()}"
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", tls), timeout=1):
            return True
        return False

    workers: set[int] = set()
    try:
        wait_until(listening, START_SECONDS, "nginx")
        front = Front(f"https://{NAME}:{tls}{prefix}", f"http://{NAME}:{plain}", folder, process)
        yield front
        workers = front.workers()
    finally:
        process.terminate()
        process.wait(STOP_SECONDS)
    wait_until(lambda: not any(Path(f"/proc/{pid}").exists() for pid in workers), 5, "the workers gone")


def link_modules(folder: Path) -> None:
    """Dynamic modules are named relative to the prefix, which is the test's folder here."""
    built = subprocess.run([nginx_program(), "-V"], capture_output=True, text=True, timeout=10, check=True)
    found = re.search(r"--modules-path=(\S+)", built.stderr)
    if found and not (folder / "modules").exists():
        (folder / "modules").symlink_to(found[1])


def nginx_accepts(conf: Path) -> str:
    """What `nginx -t` says of a configuration; AssertionError where it does not accept it."""
    link_modules(conf.parent)
    done = subprocess.run(
        [nginx_program(), "-t", "-c", str(conf), "-p", str(conf.parent), "-e", str(conf.parent / "test.log")],
        capture_output=True, text=True, timeout=30,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done.stderr


def milliseconds(value: str) -> int:
    """nginx's way to write a duration: 10m, 75s, 500ms."""
    found = re.fullmatch(r"(\d+)(ms|s|m|h)?", value)
    assert found, value
    return int(found[1]) * {"ms": 1, None: 1000, "s": 1000, "m": 60_000, "h": 3_600_000}[found[2]]


async def gather_statuses(*waiting: object) -> list[int]:
    """101 for each upgrade that was accepted, else the status it was refused with."""
    results = await asyncio.gather(*waiting, return_exceptions=True)  # type: ignore[call-overload]
    return [one.status if isinstance(one, aiohttp.WSServerHandshakeError) else 101 for one in results]
