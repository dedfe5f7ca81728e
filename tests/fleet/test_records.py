"""A server that is updated adopts the sessions of the one before: records of each format, as it was sealed.

`records/N.json` was sealed by a server of format N. They are never made anew: a new format gets a new file.
"""

from __future__ import annotations

import base64
import json
from pathlib import Path

import msgspec
import orjson
import pytest

from coderunner.schema import record as schema
from coderunner.sessions.record import BadSeal, authenticator, seal, unseal
from tests.fleet.test_registry import adopted, registry
from tests.sessions.fakes import Agent

FOLDER = Path(__file__).parent / "records"
RECORDS = {int(file.stem): json.loads(file.read_text()) for file in FOLDER.glob("*.json")}


def test_each_format_has_its_record():
    assert sorted(RECORDS) == list(range(1, schema.VERSION + 1))


@pytest.mark.parametrize("version", sorted(RECORDS))
async def test_a_session_of_each_format_is_adopted(version):
    sealed, key = RECORDS[version]["sealed"], bytes.fromhex(RECORDS[version]["key"])
    one, provisioner = registry()
    agent = Agent()
    agent.hello = {**agent.hello, "sealed": sealed}
    provisioner.engine.agents["container-0"] = agent
    assert await adopted(one, provisioner, key, "container-0", "s-1") is None
    record = one.sessions["s-1"].record
    assert (record.client, record.nonce, record.token_digest) == ("c" * 22, "n" * 22, "f" * 64)
    assert (record.opened, record.expires) == (1795000000.5, 33333333333.0)
    assert (record.limits.pids, record.limits.cpus, record.version) == (128, 1.0, schema.VERSION)
    await one.end_all("evicted")


@pytest.mark.parametrize("version", sorted(RECORDS))
def test_what_is_sealed_again_is_of_the_present_format(version):
    """As when a session of a server before gets a new token."""
    stored = RECORDS[version]
    key = bytes.fromhex(stored["key"])
    record = unseal(stored["sealed"], key, "container-0")
    again = seal(record, key, "container-0")
    assert json.loads(base64.b64decode(again.partition(".")[2]))["version"] == schema.VERSION
    assert unseal(again, key, "container-0") == record
    with pytest.raises(BadSeal):
        unseal(stored["sealed"], key, "container-1")


def sealed(document: object) -> str:
    body = orjson.dumps(document)
    return authenticator(b"k", "c", body) + "." + base64.b64encode(body).decode()


def present(**changes: object) -> dict[str, object]:
    record = unseal(RECORDS[schema.VERSION]["sealed"], bytes(range(32)), "container-0")
    return {**msgspec.to_builtins(record), **changes}


@pytest.mark.parametrize(
    ("document", "words"),
    [
        (present(version=schema.VERSION + 1), f"version {schema.VERSION + 1}, and this server reads 1 to"),
        (present(version=0), "version 0"),
        (present(more=1), "more"),
        (present(limits={}), "limits"),
        (present(expires="late"), "expires"),
        ([], "array"),
    ],
)
def test_a_record_that_this_server_cannot_read_says_why(document, words):
    with pytest.raises(ValueError, match=f"its record is of another release: .*{words}"):
        unseal(sealed(document), b"k", "c")
