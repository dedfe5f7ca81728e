"""Makes docs/screenshot.png: a running server's page, with a program that talks and a terminal beside it.

python scripts/screenshot.py [URL] [FILE]
"""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

from playwright.sync_api import Page, sync_playwright

ROOT = Path(__file__).parent.parent
sys.path[:0] = [str(ROOT), str(ROOT / "server")]

from tests.browser.conftest import FLAGS  # noqa: E402
from tests.browser.tab import Tab  # noqa: E402

PROGRAM = """\
import random
from colours import bold, green, yellow

print(bold("Guess my number"), "from 1 to 100")
secret = random.Random(7).randint(1, 100)

for tries in range(1, 8):
    guess = int(input(f"{tries}. guess: "))
    if guess == secret:
        print(green("Yes!"), f"You needed {tries} tries.")
        break
    hint = "higher" if guess < secret else "lower"
    print("   ", yellow(hint))
else:
    print("It was", secret)
"""

COLOURS = """\
def bold(text):
    return f"\\x1b[1;36m{text}\\x1b[0m"

def green(text):
    return f"\\x1b[32m{text}\\x1b[0m"

def yellow(text):
    return f"\\x1b[33m{text}\\x1b[0m"
"""


def play(page: Page, url: str) -> None:
    """Write a small game, play it, and look around in its container."""
    tab = Tab(page, url).open().language("Python").code(PROGRAM)
    tab.get("(text) => coderunner.desk.project.create('colours.py', text)", COLOURS)
    page.click("#tree li[data-path='main.py']")
    tab.run()
    for number, guess in enumerate((50, 25, 40), 1):
        tab.until(f"coderunner.text('program').trimEnd().endsWith('{number}. guess:')")
        tab.type(f"{guess}\n")
    tab.sees("4. guess:")
    tab.shell().type("ls -l\n").sees("main.py", "shell")
    tab.type("pgrep -af '^python3 main'\n").sees("python3 main.py", "shell")
    page.click("#program-term")
    page.wait_for_timeout(1500)  # the page shows for how long the program has run


def main() -> None:
    url = sys.argv[1] if len(sys.argv) > 1 else "http://127.0.0.1:3000/"
    path = Path(sys.argv[2]) if len(sys.argv) > 2 else ROOT / "docs/screenshot.png"
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=list(FLAGS))
        page = browser.new_page(
            viewport={"width": 1280, "height": 760}, device_scale_factor=2, color_scheme="dark"
        )
        play(page, url)
        page.screenshot(path=path)
        page.evaluate("coderunner.desk.end()")
        browser.close()
    print(path)


if __name__ == "__main__":
    main()
