"""Checks of a request for a session, before it waits for a slot."""

from __future__ import annotations

from coderunner.errors import BadMessage, Unsupported
from coderunner.fleet.groups import Groups
from coderunner.fleet.provision import Provisioner
from coderunner.schema import messages as m
from coderunner.schema.languages import Language
from coderunner.schema.limits import Limits, OpenLimits
from coderunner.sessions.session import Rules
from coderunner.sessions.specs import check_project

# Runtimes whose containers can be moved to another network while they run. Others read their networks once,
# when the container starts.
GROUP_RUNTIMES = (None, "runc")


class RequestChecker:
    """Checks an `open` before it is queued, so that no client waits for a slot only to be refused.

    ``rules``: limits that all sessions share.
    """

    def __init__(self, provisioner: Provisioner, rules: Rules) -> None:
        self._provisioner = provisioner
        self._rules = rules

    def check(self, request: m.Open, groups: Groups | None) -> tuple[Language, Limits]:
        """The language and the limits of the session that ``request`` asks for.

        ``groups``: of this server, None when it offers none.

        Raises UnknownLanguage, LanguageNotReady, LanguageFailed, BadLimit, BadPath, TooManyFiles,
        FileTooLarge, BadMessage, Unsupported, and for a group NoGroup, GroupFull, TooManyGroups, MemberTaken.
        """
        catalog = self._provisioner.catalog
        language = catalog.language(request.language)
        # Called for its error only.
        catalog.image(request.language)  # raises if there is none yet
        self._check_network(request, language, groups)
        # The field is accepted by the schema, as the protocol has reserved it.
        if request.record:
            raise Unsupported("recording is not offered by this server; leave `record` out")
        check_project(request.files, self._rules.project)
        usual = catalog.limits(request.language)
        limits = self._rules.limits.with_requested(usual, request.limits, OpenLimits)
        return language, limits

    def _check_network(self, request: m.Open, language: Language, groups: Groups | None) -> None:
        if request.network != "group":
            if request.group or request.group_token or request.member:
                raise BadMessage('group, group_token and member go with network: "group"')
            return
        # Checked as a pair: a token alone would silently make a new group.
        if (request.group is None) != (request.group_token is None):
            raise BadMessage("group and group_token belong together; leave both out to make a new group")
        if groups is None:
            raise Unsupported("groups are not offered by this server; leave `network` out")
        runtime = language.runtime or self._provisioner.identity.runtime
        if runtime not in GROUP_RUNTIMES:
            raise Unsupported(f"{language.name} runs in {runtime}, whose containers cannot join a network")
        # Checked again when the place is taken: the group may fill up, or end, while this one waits.
        groups.check(request.group, request.group_token, request.member, language.name)
