# Two commands on a fresh machine: `make demo` and `make test`. Both use one virtual environment.
PYTHON ?= python3
VENV := .venv
RUN := $(VENV)/bin/python
# A sourced ROS brings its own rclpy and messages, numpy below 2 and cv_bridge.
ifdef ROS_DISTRO
  VENV_OPTIONS := --system-site-packages
  BASE := -r requirements/base_ros.txt
else
  VENV_OPTIONS :=
  BASE := -r requirements/base.txt -r requirements/ros.txt
endif
SOURCES := da_ros training test bench fuzz launch requirements noxfile.py setup.py
PIP := $(RUN) -m pip install --quiet --disable-pip-version-check

.PHONY: demo demo-bag test lint format test-slow test-gpu test-matrix bench fuzz soak clean

demo: $(VENV)/demo.done
	$(RUN) -m da_ros.commands.demo --out demo_output

demo-bag: $(VENV)/test.done
	rm -rf demo_output/demo_bag
	$(RUN) -m training.demo_bag --out demo_output/demo_bag

# `make test COVERAGE=1`, as CI runs it, counts the lines that ran, in the nodes and commands that
# tests start, too; the floor, in percent, only rises.
FLOOR := 94
ifdef COVERAGE
  COUNTED := --cov --cov-report=term --cov-fail-under=$(FLOOR)
endif

# A file stays in one process, because its tests share what they have made.
test: lint
	$(RUN) -m pytest test -n 2 --dist loadfile --durations 15 $(COUNTED)

lint: $(VENV)/test.done
	$(RUN) -m ruff check $(SOURCES)
	$(RUN) -m mypy

format: $(VENV)/test.done
	$(RUN) -m ruff check --fix $(SOURCES)

test-slow: $(VENV)/test.done
	$(RUN) -m pytest test -m slow --timeout 3600

test-gpu: $(VENV)/test.done
	$(RUN) -m pytest test -m gpu

# Every Python on the PATH with numpy 1 and 2, Jazzy and Kilted: docs/compatibility.md.
test-matrix: $(VENV)/test.done
	$(VENV)/bin/nox -s tests table

bench: $(VENV)/test.done
	$(RUN) -m bench.stages
	$(RUN) -m bench.end_to_end

# Five seconds for each reader; `python -m fuzz --help` says how to look longer.
fuzz: $(VENV)/test.done
	$(RUN) -m fuzz --seconds 5
	$(RUN) -m fuzz.commands --count 20

# Half an hour of streaming; hours: make soak MINUTES=600
MINUTES ?= 30
soak: $(VENV)/test.done
	$(RUN) -m bench.soak --minutes $(MINUTES)

$(VENV)/pyvenv.cfg:
	@echo "Making the virtual environment $(VENV) ..."
	$(PYTHON) -m venv $(VENV_OPTIONS) $(VENV)

$(VENV)/demo.done: $(VENV)/pyvenv.cfg $(wildcard requirements/base*.txt) requirements/ros.txt requirements/demo.txt setup.py
	@echo "Installing what the node and the demo need (about 300 MB, no torch) ..."
	$(PIP) $(BASE) -r requirements/demo.txt
	$(PIP) --no-deps --editable .
	@touch $@

$(VENV)/test.done: $(VENV)/demo.done requirements/training.txt requirements/test.txt
	@echo "Adding what training and tests need (torch, open3d, pytest ...) ..."
	$(PIP) $(BASE) -r requirements/training.txt
	$(PIP) $(BASE) -r requirements/test.txt
	@ldconfig -p | grep -q libusb-1.0 || if [ "$$(id -u)" = 0 ] && command -v apt-get > /dev/null; \
	  then echo "Installing libusb-1.0-0, which open3d loads ..."; \
	    apt-get update -qq && apt-get install -y -qq libusb-1.0-0 || true; \
	  else echo "open3d needs libusb-1.0-0 (apt-get install libusb-1.0-0); its tests will skip"; fi
	@touch $@

clean:
	rm -rf $(VENV) demo_output build install log *.egg-info
