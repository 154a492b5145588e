# Each target makes .venv when it is missing or older than pyproject.toml; that takes minutes once, and nothing after.
# Its Python is the first of these that is 3.12 or 3.11 and can make environments; or name one: make test PYTHON=...
PYTHON ?= $(shell for name in python3.12 python3.11 python3; do \
	$$name -c 'import ensurepip, sys, venv; sys.exit(sys.version_info[:2] not in ((3, 11), (3, 12)))' 2>/dev/null \
	&& echo $$name && break; done)
BIN := .venv/bin

.PHONY: demo test engines soak image-test lock lint audit bench clean

demo: .venv/made
	$(BIN)/beam-curate demo

# Tests of Prism, Flink and object stores are skipped where these are missing, unless BEAM_CURATE_REQUIRE_SERVERS is set.
test: .venv/made $(if $(BEAM_CURATE_REQUIRE_SERVERS),engines)
	$(BIN)/python -m pytest -n 2 --dist loadfile

# Prism, Flink and object stores, into a cache outside this folder: 620 MB, several minutes once.
engines: .venv/made
	$(BIN)/python tools/engines.py

soak: .venv/made
	BEAM_CURATE_RELIABILITY=docs/reliability.md $(BIN)/python -m pytest -m soak --timeout 3600

# Builds the image of the Dockerfile with buildah, on a base that debootstrap makes, and runs the demo in it: as root, 25 GB.
image-test: .venv/made
	$(BIN)/python -m pytest -m soak --timeout 3600 tests/integration/test_image.py

# The exact packages of the image, for the oldest Python that it may have.
lock: .venv/made
	$(BIN)/uv pip compile --quiet --upgrade --generate-hashes --no-header --python-version 3.11 \
	--python-platform x86_64-manylinux_2_28 --output-file requirements.lock pyproject.toml

lint: .venv/made
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports

# Known vulnerabilities of what is installed. It asks pypi.org, which a mirror does not replace: see docs/security.md.
audit: .venv/made
	$(BIN)/python -m pip freeze --exclude-editable | sed 's/+.*//' > .venv/audited.txt
	@$(BIN)/pip-audit --strict --disable-pip --no-deps --progress-spinner off --requirement .venv/audited.txt || { \
	echo "Where vulnerabilities are listed above, update these packages. Where a package was not found or there was no" \
	"answer, https://pypi.org is out of reach from here, or the package is not from there: run this where it is" \
	"reached (HTTPS_PROXY names a proxy), or compare .venv/audited.txt with https://osv.dev." >&2; exit 1; }

bench: .venv/made
	$(BIN)/python benchmarks/run_all.py

.venv/made: setup.py pyproject.toml
	@test -n "$(PYTHON)" || { echo "No Python 3.12 or 3.11 was found. Install one of them with its venv module:" \
	"apt install python3.12-venv (Debian, Ubuntu), dnf install python3.12 (Fedora), pyenv install 3.12, or" \
	"uv python install 3.12. One elsewhere is named with: make PYTHON=/path/to/python3.12" >&2; exit 1; }
	$(PYTHON) -m venv --clear .venv
	$(BIN)/python -m pip install --quiet --upgrade pip
	$(BIN)/python -m pip install --quiet --editable '.[dev]'
	touch $@

clean:
	rm -rf .venv beam_curate_demo build *.egg-info
