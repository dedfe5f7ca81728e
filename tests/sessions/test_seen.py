"""What a caller who may see a session gets without being attached."""

from __future__ import annotations

from coderunner.schema import messages as m
from coderunner.schema.reports import ArtifactNews
from coderunner.web.sessions import view
from tests.sessions.test_faults import begun


async def test_what_programs_make_is_told_to_the_owner_alone(monkeypatch):
    one, _, opened, owner = await begun(monkeypatch)
    session = opened.session
    session.handle(owner, m.Run(1, "pipe", (m.File("main.py", b"x"),)))
    session.on_artifact(1, ArtifactNews("report.html", 5))
    session.channels[1].diagnostics = (m.Diagnostic("main.py", 1, 1, "error", "secret = 42"),)
    [own] = view(session, own=True).channels
    assert [made.path for made in own.artifacts] == ["report.html"]
    assert len(own.diagnostics) == 1
    [seen] = view(session, own=False).channels
    assert (seen.artifacts, seen.diagnostics) == ((), ())
    assert (seen.channel, seen.kind, seen.phase) == (own.channel, own.kind, own.phase)
    await one.end_all("evicted")
