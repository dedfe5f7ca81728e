"""What a launch of a learning platform says: the person, the course as a room, the role."""

from __future__ import annotations

import pytest

from coderunner.identity.lti import principal, room_of
from tests.identity.platform import COURSE, SCHOOL, Platform

ISSUER = "https://moodle.example"


def launched(**changed):
    return principal(ISSUER, Platform().claims("n", "https://here.example/", **changed))


def test_a_student_of_a_course():
    who = launched()
    assert (who.subject, who.name, who.roles) == ("lti:42", "Alice Example", frozenset(("user",)))
    (room,) = who.rooms
    assert room.startswith("CS-101-")


@pytest.mark.parametrize(
    ("roles", "teaches"),
    [
        ([COURSE + "#Instructor"], True),
        ([COURSE + "/Instructor#TeachingAssistant"], True),
        (["Instructor"], True),
        ([COURSE + "#Learner", COURSE + "#Instructor"], True),
        # Teachers elsewhere in the school, and its administrators, are nobody special in this course.
        ([SCHOOL + "#Instructor", COURSE + "#Learner"], False),
        (["http://purl.imsglobal.org/vocab/lis/v2/system/person#Administrator"], False),
        ([COURSE + "#Administrator"], False),
        (["instructor", "teacher", "operator", "http://evil.example#Instructor"], False),
        ([], False),
        (None, False),
        ("Instructor", False),
        ([7, None, ["Instructor"]], False),
    ],
)
def test_only_teachers_of_the_course_are_teachers(roles, teaches):
    assert ("teacher" in launched(lti_roles=roles).roles) is teaches
    assert "operator" not in launched(lti_roles=roles).roles


def test_a_teacher_without_a_course_is_a_user():
    who = launched(lti_context=None, lti_roles=[COURSE + "#Instructor"])
    assert (who.roles, who.rooms) == (frozenset(("user",)), frozenset())


def test_courses_of_the_same_name_are_different_rooms():
    first, second = ({"id": ident, "label": "CS 101"} for ident in ("5", "6"))
    assert room_of(ISSUER, first) == room_of(ISSUER, dict(first))
    assert (
        len({room_of(ISSUER, first), room_of(ISSUER, second), room_of("https://other.example", first)}) == 3
    )


@pytest.mark.parametrize(
    "label", ["Ämter & Übungen", "算法", "a" * 500, "../../x", "<script>", "-", "", None, 7]
)
def test_any_name_of_a_course_gives_a_room(label):
    room = room_of(ISSUER, {"id": "5", "label": label})
    assert room is not None
    assert launched(lti_context={"id": "5", "label": label}).room(None) == room


@pytest.mark.parametrize("context", [None, {}, {"id": ""}, {"id": 5}, "5", ["5"]])
def test_no_course(context):
    assert room_of(ISSUER, context) is None


@pytest.mark.parametrize("sub", [None, "", 7, "a\nb", "a" * 300])
def test_somebody_without_a_usable_id_is_nobody(sub):
    with pytest.raises(ValueError, match="subject"):
        launched(sub=sub)


def test_a_platform_that_sends_no_names():
    assert launched(name=None).name == "42"
