"""`coderunner doctor --url` through a real nginx: what is right, and each thing that people get wrong."""

from __future__ import annotations

from urllib.parse import urlsplit

import pytest

from coderunner.doctor import server as doctor
from coderunner.doctor.findings import FAIL, OK
from tests.nginx.front import edit, running_nginx
from tests.share import some_now


@pytest.fixture(autouse=True)
def authority(monkeypatch, front):
    monkeypatch.setenv("SSL_CERT_FILE", str(front.folder / "cert.pem"))


async def looked(front, **options):
    parts = urlsplit(front.url)
    options = {"through": True, "idle": 1.0, **options}
    found = await doctor.checks(f"https://127.0.0.1:{parts.port}{parts.path}", **options)
    return {one.check: one for one in found}


async def test_all_is_well(front):
    found = await looked(front)
    certificate = found.pop("certificate")
    assert (certificate.state, certificate.mend) != (FAIL, "")
    assert "valid for" in certificate.text
    assert {check: one.text for check, one in found.items() if one.state == FAIL} == {}
    assert "over sockets of its own" in found["agents"].text
    assert {"server", "clock", "ready", "address", "buffering", "websocket", "idle"} <= set(found)
    assert "127.0.0.2" in found["address"].text


async def test_below_a_path(prefixed, monkeypatch):
    monkeypatch.setenv("SSL_CERT_FILE", str(prefixed.folder / "cert.pem"))
    found = await looked(prefixed)
    assert [one for one in found.values() if one.state == FAIL] == []
    assert {"websocket", "buffering"} <= set(found)


async def test_at_the_wrong_path(prefixed, monkeypatch):
    monkeypatch.setenv("SSL_CERT_FILE", str(prefixed.folder / "cert.pem"))
    port = urlsplit(prefixed.url).port
    found = await doctor.checks(f"https://127.0.0.1:{port}/", through=True, idle=1.0)
    assert found[-1].check == "server"
    assert "no CodeRunner at this path" in found[-1].text


async def test_a_certificate_that_nobody_vouches_for(front, monkeypatch):
    monkeypatch.delenv("SSL_CERT_FILE")
    found = await looked(front)
    assert found["certificate"].state == FAIL
    assert "certbot" in found["certificate"].mend
    assert found["websocket"].state == OK, "the rest is looked at all the same"


UPGRADE = "    proxy_set_header Upgrade           $http_upgrade;\n"
ADDRESS = "proxy_set_header X-Forwarded-For   $remote_addr;"
BUFFERING = "proxy_buffering off;"
IGNORED = "proxy_ignore_headers X-Accel-Buffering;"
HOST = "proxy_set_header Host              $http_host;"
NOBODY = "proxy_pass http://127.0.0.1:9/;"


@pytest.mark.long
@pytest.mark.parametrize(
    ("check", "old", "new", "mend"),
    some_now(
        [
            ("websocket", UPGRADE, "", "Upgrade"),
            (
                "address",
                ADDRESS,
                "proxy_set_header X-Forwarded-For $http_x_forwarded_for;",
                "X-Forwarded-For",
            ),
            ("address", ADDRESS, 'proxy_set_header X-Forwarded-For "";', "TRUSTED_PROXIES"),
            ("server", HOST, "proxy_set_header Host a.test;", "ALLOWED_HOSTS"),
            ("buffering", BUFFERING, f"proxy_buffering on; {IGNORED}", "proxy_buffering off"),
            ("idle", "proxy_read_timeout 10m;", "proxy_read_timeout 1s;", "proxy_read_timeout"),
            ("server", "proxy_pass http://coderunner/;", NOBODY, "systemctl"),
        ],
        0,
        1,
        4,
        5,
    ),
)
async def test_what_people_get_wrong(tmp_path, upstream, monkeypatch, check, old, new, mend):
    with running_nginx(tmp_path, upstream, alter=lambda text: edit(text, old, new)) as wrong:
        monkeypatch.setenv("SSL_CERT_FILE", str(wrong.folder / "cert.pem"))
        found = await looked(wrong, idle=4.0)
    assert found[check].state == FAIL, found
    assert mend in found[check].mend
