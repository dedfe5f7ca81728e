"""docs/platforms.md says what the results say."""

from tests.platforms import report


def test_the_page_is_of_the_results_that_are_kept() -> None:
    assert report.page(report.read()) == report.PAGE.read_text("utf-8")
