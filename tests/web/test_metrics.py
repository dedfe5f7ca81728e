"""`GET /metrics`: only for the operator, and with true values."""

from __future__ import annotations

import re

import aiohttp
import pytest
from prometheus_client.parser import text_string_to_metric_families

from coderunner.schema import messages as m
from tests.harness import ROOT, connect, eventually, running_server, session

KEY = "0123456789abcdef-ABCDEF-0123456789"
RULES = ROOT / "deploy/prometheus/coderunner-rules.yml"
DASHBOARD = ROOT / "deploy/grafana/coderunner.json"
PAGE = ROOT / "docs/monitoring.md"


@pytest.fixture(scope="module")
def watched(tmp_path_factory):
    folder = tmp_path_factory.mktemp("watched")
    settings = {"ADMIN_KEY": KEY, "LANGUAGES": "python", "WARM_MAX": "1"}
    with running_server(folder, MAX_CONCURRENT_SESSIONS="1", QUEUE_TIMEOUT="1000", **settings) as one:
        yield one


async def asked(server, **headers: str) -> tuple[int, str]:
    async with aiohttp.ClientSession() as http, http.get(f"{server.url}metrics", headers=headers) as answer:
        return answer.status, await answer.text()


async def scraped(server) -> dict[tuple[str, frozenset[tuple[str, str]]], float]:
    status, text = await asked(server, Authorization=f"Bearer {KEY}")
    assert status == 200
    return {
        (sample.name, frozenset(sample.labels.items())): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def of(samples, name: str, **labels: str) -> float:
    wanted = set(labels.items())
    return sum(value for (one, its), value in samples.items() if one == name and wanted <= its)


class TestWhoMayAsk:
    @pytest.mark.parametrize(
        "headers",
        [{}, {"Authorization": "Bearer wrong"}, {"Authorization": f"Basic {KEY}"}, {"Cookie": f"key={KEY}"}],
    )
    async def test_without_the_key_nobody(self, watched, headers):
        status, text = await asked(watched, **headers)
        assert status == 401
        assert "coderunner_" not in text
        assert ("not known" if "wrong" in str(headers) else "ADMIN_KEY") in text

    async def test_where_there_is_no_key_this_machine_alone(self, server):
        status, text = await asked(server)
        assert status == 200
        assert "coderunner_sessions " in text
        status, text = await asked(server, **{"X-Forwarded-For": "192.0.2.7"})
        assert status == 401
        assert "coderunner_sessions" not in text


class TestWhatIsMeasured:
    async def test_a_session_is_counted_from_its_opening_to_its_end(self, watched):
        before = await scraped(watched)

        async def grown(name: str, least: float = 1, **labels: str) -> None:
            async def enough() -> bool:
                return of(await scraped(watched), name, **labels) - of(before, name, **labels) >= least

            await eventually(enough, 10, f"{name} {labels} to grow by {least}")

        async with session(watched) as client:
            now = await scraped(watched)
            assert of(now, "coderunner_sessions") == 1
            assert of(now, "coderunner_websockets") == 1
            assert of(now, "coderunner_attachments") == 1
            assert (await client.result(1, "print('there')")).text == "there\n"
            await client.run(2, "input()", mode="tty")
            await client.wait(lambda: 2 in client.channels)
            await client.input(2, b"x")
            await grown("coderunner_echo_seconds_count")
            async with connect(watched.url, f"ws/{client.opened.session}") as other:
                await other.send(m.Attach(client.opened.session, client.opened.token, other.client, "watch"))
                await other.message(m.Attached)
            await grown("coderunner_resumes_total", role="watch")
            await client.send(m.Kill(2))
            await client.ended(2)
        await grown("coderunner_open_seconds_count")
        await grown("coderunner_queue_wait_seconds_count")
        await grown("coderunner_first_byte_seconds_count", language="python")
        await grown("coderunner_runs_ended_total", language="python", reason="exited")
        await grown("coderunner_runs_ended_total", language="python", reason="killed")
        await grown("coderunner_sessions_ended_total", reason="client")
        await grown("coderunner_warm_takes_total", language="python")
        await grown("coderunner_websocket_bytes_total", 100, direction="in")
        await grown("coderunner_websocket_bytes_total", 100, direction="out")
        await grown("coderunner_engine_call_seconds_count", call="remove", outcome="ok")
        await grown("coderunner_loop_lag_seconds_count", 5)
        await eventually(lambda: watched.stats()["queue"]["active"] == 0, 20, "no live session")
        assert of(await scraped(watched), "coderunner_sessions") == 0

    async def test_an_opening_that_fails_is_counted_by_its_code(self, watched):
        before = await scraped(watched)
        async with session(watched), connect(watched.url) as client:
            await client.send(m.Open("python", client.client))
            await client.error("queue_timeout")
            after = await scraped(watched)
        counted = "coderunner_opens_failed_total"
        assert of(after, counted, code="queue_timeout") - of(before, counted, code="queue_timeout") == 1


class TestWhatIsBuiltOnIt:
    async def test_rules_dashboard_and_page_name_only_what_is_there_and_the_page_all_of_it(self, watched):
        status, text = await asked(watched, Authorization=f"Bearer {KEY}")
        assert status == 200
        names = set()
        families = set()
        for family in text_string_to_metric_families(text):
            suffix = "_total" if family.type == "counter" else ""
            if not family.name.endswith("_created"):
                families.add(family.name + suffix)
            names |= {family.name + suffix, *(sample.name for sample in family.samples)}
            if family.type == "histogram":  # one without a label set has no sample yet
                names |= {family.name + end for end in ("_bucket", "_count", "_sum")}
        for place in (RULES, DASHBOARD, PAGE):
            used = set(re.findall(r"\b(?:coderunner|process)_[a-z_]+[a-z]\b", place.read_text()))
            assert used - names - {"coderunner_rules"} == set(), place.name
        told = PAGE.read_text()
        assert {one for one in families if one.startswith("coderunner_") and f"`{one}`" not in told} == set()

    def test_every_alert_has_its_part_of_the_page(self):
        alerts = re.findall(r"alert: (\w+)", RULES.read_text())
        assert len(alerts) > 5
        assert re.findall(r"^### (\w+)$", PAGE.read_text(), re.MULTILINE) == alerts
