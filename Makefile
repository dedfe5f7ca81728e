# Each target runs a script of scripts/, which can also be run without make.

.PHONY: run test test-unit check coverage audit bench soak lint images prune-images lock stop-engine package test-platforms clean help

run: ## install what is missing, build the images, start the server; V=1: show each step
	@scripts/run.sh

test: ## all tests: pure logic, real engine, real nginx, real browser
	@scripts/test.sh

test-unit: ## tests of pure logic, in seconds: no engine, no browser, no image
	@scripts/test.sh --unit

check: ## lint, types, tests of pure logic, documents; takes a minute
	@scripts/check.sh

coverage: ## all tests, and which of the server's lines and branches they reach
	@COVERAGE=1 scripts/test.sh && scripts/coverage.sh

audit: ## check the installed packages for known vulnerabilities
	@scripts/audit.sh

test-platforms: ## test the main path on other engines and Pythons, and in virtual machines; follow the deployment guide (as root)
	@scripts/platforms.sh

bench: ## measure latencies, and print a table
	@scripts/bench.sh

soak: ## use the server for a long time with faults, and check for leaks at the end
	@scripts/soak.sh

lint: ## ruff, mypy, import rules; eslint, unused exports and types of the page
	@scripts/lint.sh

images: ## build the languages' images, and rebuild those that have security updates
	@scripts/images.sh renew

prune-images: ## remove images of earlier versions
	@scripts/images.sh prune

lock: ## update the lock files to the newest versions
	@scripts/lock.sh

stop-engine: ## stop the container engine that `make run` started
	@scripts/engine.sh stop

package: ## make a wheel with everything, in dist/: `pip install dist/coderunner-*.whl`, then `coderunner serve`; and packages of the clients
	@scripts/package.sh

clean: ## remove what was installed into this folder
	rm -rf .venv .node node_modules static/dist .pytest_cache .ruff_cache .mypy_cache .import_linter_cache .hypothesis

help: ## this list
	@sed -n 's/^\([a-z-]*\):.*## /\1\t/p' Makefile | expand -t 16
