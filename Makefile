# make demo    set everything up and run the main job for real: camera and node, over DDS
#              (DEMO_VIEW=1: live in a browser, too)
# make test    set everything up and run the tests
# make test-oldest PYTHON=python3.10   the tests with the libraries of Ubuntu 22.04 (ROS 2 Humble)
# make weights train the embedded network and detector anew: hours
# make bench   the node against an obvious one, and where its time goes (docs/performance.md); takes minutes
# make soak    half an hour at camera rate with a fault every 20 s: is each named and overcome in 2 s, does memory
#              grow? (SOAK_SECONDS=1800, SOAK_RATE=30 Hz); make soak-memory without faults, more people
# make signals programs told to end at 200 random moments: does each end cleanly within 2 s? (SIGNALS=200)
# make fuzz    ten minutes of damaged input for everything that reads what others wrote (FUZZ_SECONDS=600)
# make lint    check style and types
# make sbom    what is installed, as a software bill of materials (CycloneDX) in out/sbom.cdx.json
# make audit   what is known of faults in it; needs the network (OSV_URL: a mirror)
# make docs    the pages of docs/ and the API reference, in out/docs
# make clean   remove everything that make made
#
# Needs Python >= 3.10 (with venv), gcc and make. The environment is .venv; what was done once is not done again.

PYTHON       ?= python3
DEMO_SECONDS ?= 20
DEMO_OUTPUT  ?= out/demo
SOAK_SECONDS ?= 1800
SOAK_RATE    ?= 30
FUZZ_SECONDS ?= 600
SIGNALS      ?= 200
OSV_URL      ?=
PYTEST_ARGS  ?=

VENV       := .venv
TEST_EXTRA := test
COMMA      := ,
RUN        := $(VENV)/bin/python
LOG        := $(VENV)/install.log
PIP        := $(RUN) -m pip install --disable-pip-version-check --no-input --progress-bar off

# What is compiled or copied by the installation.
SOURCES := CMakeLists.txt package.xml pyproject.toml setup.py \
           $(sort $(shell find cliff_ros msg cmake config launch pip_support scripts -type f ! -name '*.pyc'))

# $(call step,what,command): a line for people; the output goes to the log, and on the screen if it fails.
define step
@printf '%s ... ' '$(1)'; start=$$(date +%s); \
if { $(2); } >>$(LOG) 2>&1; then echo "$$(( $$(date +%s) - start )) s"; \
else echo 'failed:'; tail -n 25 $(LOG); echo 'All of it is in $(LOG).'; exit 1; fi
endef

.PHONY: demo test test-oldest weights bench soak soak-memory signals fuzz lint sbom audit docs clean FORCE
.DELETE_ON_ERROR:

demo: $(VENV)/installed $(VENV)/view
	@$(RUN) -m cliff_ros.cli demo --seconds $(DEMO_SECONDS) --output $(DEMO_OUTPUT) $(if $(DEMO_VIEW),--view)

test: $(VENV)/tools
	@$(RUN) -m pytest -n 2 --dist loadgroup $(PYTEST_ARGS)

# In an environment of its own. torch and onnx need a newer NumPy: tests of training and export are left out.
test-oldest:
	@PIP_CONSTRAINT=$(CURDIR)/scripts/oldest.txt $(MAKE) --no-print-directory test VENV=.venv-oldest TEST_EXTRA=test-base

# Renders and trains in out/train; a second start goes on where the first was stopped.
weights: $(VENV)/tools
	@$(RUN) -m cliff_ros.cli train --work out/train --output cliff_ros/data

bench: $(VENV)/tools
	@$(RUN) -m bench.run --output out/bench

soak: $(VENV)/tools
	@$(RUN) -m bench.fault_soak --output out/soak --seconds $(SOAK_SECONDS) --rate $(SOAK_RATE)

soak-memory: $(VENV)/tools
	@$(RUN) -m bench.soak --output out/bench --seconds $(SOAK_SECONDS)

signals: $(VENV)/tools
	@$(RUN) -m bench.signals --output out/signals --count $(SIGNALS)

fuzz: $(VENV)/tools
	@$(RUN) -m bench.fuzz --output out/fuzz --seconds $(FUZZ_SECONDS)

lint: $(VENV)/linters
	@$(RUN) -m ruff check .
	@$(RUN) -m ruff format --check .
	@$(RUN) -m mypy

sbom: $(VENV)/auditors
	@mkdir -p out
	@$(VENV)/audit/bin/cyclonedx-py environment --pyproject pyproject.toml --output-reproducible \
	  --output-file out/sbom.cdx.json $(RUN)
	@echo out/sbom.cdx.json

audit: $(VENV)/auditors
	@$(RUN) scripts/audit.py $(VENV)/audit/bin/pip-audit $(RUN) out/audit.json $(if $(OSV_URL),--osv-url $(OSV_URL))

docs: $(VENV)/writers
	@$(RUN) -m mkdocs build --strict --quiet
	@echo 'out/docs/index.html'

clean:
	rm -rf $(VENV) build out *.egg-info .hypothesis .pytest_cache .ruff_cache .mypy_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

$(VENV)/created:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 10))' \
	  || { echo 'cliff_ros needs Python 3.10 or newer: make PYTHON=/path/to/python3'; exit 1; }
	@rm -rf $(VENV)
	@$(PYTHON) -m venv $(VENV) \
	  || { rm -rf $(VENV); echo 'Python has no venv module; on Debian and Ubuntu: apt install python3-venv'; exit 1; }
	@touch $@

$(VENV)/requirements: $(VENV)/created pyproject.toml scripts/requirements.py
	$(call step,Installing ROS 2 and libraries (about a minute),\
	  $(RUN) scripts/requirements.py >$@.txt && $(PIP) -r $@.txt)
	@touch $@

# Changes when a file appears or vanishes, which time stamps alone do not show.
$(VENV)/sources.txt: $(VENV)/created FORCE
	@echo $(SOURCES) | cmp -s - $@ || echo $(SOURCES) >$@

$(VENV)/installed: $(VENV)/requirements $(VENV)/sources.txt $(SOURCES)
	$(call step,Building messages and installing cliff_ros (about a minute),$(PIP) --no-build-isolation .)
	@touch $@

# A few seconds; without it the demo leaves no page that plays it.
$(VENV)/view: $(VENV)/installed
	$(call step,Installing what shows people in a browser,$(PIP) 'cliff_ros[view]' || echo 'Going on without it')
	@touch $@

# torch may not exist for this Python yet; the tests that need it skip then, and say so.
$(VENV)/tools: $(VENV)/installed
	$(call step,Installing what the tests need,\
	  $(PIP) 'cliff_ros[$(TEST_EXTRA)]' || { echo 'Going on without torch'; $(PIP) 'cliff_ros[test-base]'; })
	@touch $@

# mypy reads the types of what is installed: torch and onnx come with the tools.
$(VENV)/linters: $(VENV)/tools
	$(call step,Installing what checks style and types,$(PIP) 'cliff_ros[lint]')
	@touch $@

# In an environment of their own: what they need is no part of what they look at.
$(VENV)/auditors: $(VENV)/installed
	$(call step,Installing what looks at packages,\
	  $(RUN) -m venv $(VENV)/audit && $(VENV)/audit/bin/python -m pip install --disable-pip-version-check --no-input \
	  --progress-bar off 'cyclonedx-bom>=7$(COMMA)<8' 'pip-audit>=2.9$(COMMA)<3')
	@touch $@

$(VENV)/writers: $(VENV)/installed
	$(call step,Installing what builds the pages,$(PIP) 'cliff_ros[docs]')
	@touch $@
