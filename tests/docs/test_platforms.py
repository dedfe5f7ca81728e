"""docs/platforms.md and SECURITY.md say what the results say."""

from tests.platforms import report


def test_the_page_is_of_the_results_that_are_kept() -> None:
    assert report.page(report.read()) == report.PAGE.read_text("utf-8")


def test_each_promise_names_the_platforms_where_its_tests_passed() -> None:
    """`python -c "from tests.platforms.report import *; write_promises()"` writes them for a new row."""
    text = report.SECURITY.read_text("utf-8")
    assert text.count("| promise | test | passed on, too |\n") == 1
    assert report.promises(text, report.read()) == text
