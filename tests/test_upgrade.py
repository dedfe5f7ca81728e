"""`upgrade-check`: the sessions that live on and those that do not, the images, the units."""

from __future__ import annotations

from pathlib import Path

import pytest

from coderunner import config, places, upgrade
from tests.harness import ENGINE, Server, session


async def test_it_tells_sessions_images_and_units(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    environment = {"INSTANCE_NAME": server.instance, "DOCKER_HOST": ENGINE, "LANGUAGES": "python"}
    settings = config.load(environment)
    unit = tmp_path / "coderunner.service"
    unit.write_bytes(places.files()["deploy/coderunner.service"].read_bytes())
    async with session(server):
        fine, lines = await upgrade.check(settings, tmp_path)
        assert fine
        [live] = [line for line in lines if line.startswith("sessions: ")]
        assert int(live.split()[1]) >= 1
        assert live.endswith("continue; the next server adopts them")
        assert "images: all 1 exist" in lines
        assert not [line for line in lines if str(tmp_path) in line]

        monkeypatch.setattr(upgrade, "VERSION", upgrade.VERSION + 1)
        unit.write_text("[Unit]\n")
        fine, lines = await upgrade.check(settings, tmp_path)
        assert not fine
        assert any(line.endswith("their sessions will END") for line in lines)
        [told] = [line for line in lines if str(unit) in line]
        assert told.endswith("`coderunner files deploy/coderunner.service`")
