"""A real Prometheus scrapes a real server: the rules and the dashboard's queries return results."""

from __future__ import annotations

import json
import re
import socket
import subprocess

import aiohttp
import pytest

from tests.harness import ROOT, eventually, running_server, session

KEY = "0123456789abcdef-ABCDEF-0123456789"
RULES = ROOT / "deploy/prometheus/coderunner-rules.yml"
DASHBOARD = ROOT / "deploy/grafana/coderunner.json"

pytestmark = [pytest.mark.long, pytest.mark.timeout(180)]


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as one:
        return int(one.getsockname()[1])


def test_the_rules_are_sound():
    done = subprocess.run(["promtool", "check", "rules", RULES], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr


@pytest.fixture
def server(tmp_path):
    with running_server(tmp_path, ADMIN_KEY=KEY, LANGUAGES="python", WARM_MAX="1") as one:
        yield one


@pytest.fixture
def prometheus(server, tmp_path):
    """The URL of a Prometheus that scrapes the server each second. Its output is printed if a test fails."""
    (tmp_path / "key").write_text(KEY)
    config = {
        "global": {"scrape_interval": "1s", "evaluation_interval": "1s"},
        "rule_files": [str(RULES)],
        "scrape_configs": [{
            "job_name": "coderunner",
            "authorization": {"credentials_file": str(tmp_path / "key")},
            "static_configs": [{"targets": [server.url.removeprefix("http://").rstrip("/")]}],
        }],
    }  # fmt: skip
    (tmp_path / "prometheus.yml").write_text(json.dumps(config))
    port = free_port()
    command = [
        "prometheus", f"--config.file={tmp_path}/prometheus.yml", f"--storage.tsdb.path={tmp_path}/data",
        f"--web.listen-address=127.0.0.1:{port}", "--log.level=warn",
    ]  # fmt: skip
    process = subprocess.Popen(command)
    yield f"http://127.0.0.1:{port}/"
    process.terminate()
    process.wait(20)


class Asked:
    """Prometheus' HTTP interface."""

    def __init__(self, http: aiohttp.ClientSession) -> None:
        self._http = http

    async def __call__(self, path: str, **query: str) -> dict:
        """The result of a query; empty while it does not listen yet."""
        try:
            async with self._http.get(f"api/v1/{path}", params=query) as answer:
                return await answer.json() if answer.content_type == "application/json" else {}
        except aiohttp.ClientConnectionError:
            return {}

    async def value(self, expression: str) -> float:
        """The value of the first series; 0 without one."""
        answer = await self("query", query=expression)
        result = answer["data"]["result"] if answer.get("status") == "success" else []
        return float(result[0]["value"][1]) if result else 0.0

    async def rules(self) -> list[dict]:
        """All rules; none until each was evaluated once."""
        answer = await self("rules")
        found = [rule for group in answer["data"]["groups"] for rule in group["rules"]] if answer else []
        return found if all(rule["health"] != "unknown" for rule in found) else []


async def test_prometheus_scrapes_it_and_every_question_is_answered(server, prometheus):
    async with aiohttp.ClientSession(prometheus) as http:
        ask = Asked(http)

        async def seen() -> bool:
            return await ask.value("coderunner_sessions") == 1

        async with session(server) as client:
            assert (await client.result(1, "print('there')")).text == "there\n"
            await eventually(seen, 30, "Prometheus to have seen the session")
        assert await ask.value('up{job="coderunner"}') == 1
        judged = await eventually(ask.rules, 30, "the rules to be evaluated")
        assert {rule["name"]: rule.get("lastError") for rule in judged if rule["health"] != "ok"} == {}
        assert [rule["name"] for rule in judged if rule["state"] == "firing"] == []

        panels = json.loads(DASHBOARD.read_text())["panels"]
        asked = [target["expr"] for panel in panels for target in panel["targets"]]
        assert len(asked) > 20
        for expression in asked:
            concrete = expression.replace("$instance", ".*").replace("$__rate_interval", "1m")
            assert not re.search(r"\$", concrete)
            answer = await ask("query", query=concrete)
            assert answer.get("status") == "success", (expression, answer)
