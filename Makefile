# Everything here is a script in scripts/, which can be run without make.

.PHONY: run test test-unit check coverage audit bench soak lint images prune-images lock stop-engine package test-platforms clean help

run: ## install what is missing, build the images, serve
	@scripts/run.sh

test: ## all tests: pure logic, real engine, real nginx, real browser
	@scripts/test.sh

test-unit: ## tests of pure logic, in seconds: no engine, no browser, no image
	@scripts/test.sh --unit

check: ## in a minute: lint, types, tests of pure logic, documents
	@scripts/check.sh

coverage: ## all tests, and which of the server's lines and branches they reach
	@COVERAGE=1 scripts/test.sh && scripts/coverage.sh

audit: ## known weaknesses of what is installed
	@scripts/audit.sh

test-platforms: ## the main path on the newest engine and Python of Debian, and what Docker 29 changed (as root)
	@scripts/platforms.sh

bench: ## measure, and print a table
	@scripts/bench.sh

soak: ## a long time of use and of faults, with a balance at its end
	@scripts/soak.sh

lint: ## ruff, mypy, import rules; eslint, unused exports and types of the page
	@scripts/lint.sh

images: ## build the languages' images, and those anew that have security updates
	@scripts/images.sh renew

prune-images: ## remove images of earlier versions
	@scripts/images.sh prune

lock: ## write the lock files anew, with the newest versions
	@scripts/lock.sh

stop-engine: ## stop the container engine that `make run` started
	@scripts/engine.sh stop

package: ## a wheel that carries all of it, in dist/: `pip install dist/*.whl`, then `coderunner serve`
	@scripts/package.sh

clean: ## remove what was installed into this folder
	rm -rf .venv .node node_modules static/dist .pytest_cache .ruff_cache .mypy_cache .import_linter_cache .hypothesis

help: ## this list
	@sed -n 's/^\([a-z-]*\):.*## /\1\t/p' Makefile | expand -t 16
