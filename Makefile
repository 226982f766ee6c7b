# Every target shows the command it runs: with Ansible of your own, type that.
#   make deploy INVENTORY=inventory/prod.yml ARGS="--check --diff"
SHELL     := /bin/bash
PYTHON    ?= python3
INVENTORY ?= inventory/local.yml
ARGS      ?=
VENV      := .venv
# If set, every run of Ansible compiles all of its modules again (1-2 s).
unexport PYTHONDONTWRITEBYTECODE
export PATH := $(CURDIR)/$(VENV)/bin:$(PATH)
# Ansible ignores an ansible.cfg in a folder that everyone can write to, as on WSL's /mnt/c.
deploy check rotate uninstall engine backup backups verify-backup restore backup-key: export ANSIBLE_CONFIG ?= $(CURDIR)/ansible.cfg
# Where TLS is inspected, only the system's store has the authority; uv and most pips read a list of their own by default.
SYSTEM_CERTS := $(firstword $(wildcard /etc/ssl/certs/ca-certificates.crt /etc/pki/tls/certs/ca-bundle.crt \
                /etc/ssl/ca-bundle.pem /etc/ssl/cert.pem))
export UV_SYSTEM_CERTS ?= $(if $(SYSTEM_CERTS),true,false)
UV_INSTALL := $(VENV)/bin/uv pip install --quiet --python $(VENV)/bin/python --require-hashes
UV_COMPILE := $(VENV)/bin/uv pip compile --quiet --universal --generate-hashes --python-version 3.11 \
              --no-header --no-annotate --no-emit-index-url --fork-strategy fewest
# In this order: a *.in may use an earlier lock as constraints.
LOCKS := images/base/uv requirements/run $(addsuffix /requirements,$(addprefix images/,hub proxy singleuser datascience)) requirements/dev

# Only variables from make's command line, not USER, HOST or NAME from the shell's environment.
given = $(if $(findstring command,$(origin $1)),$(value $1))
extra = $(if $(call given,$1),-e '{"$2": "$(subst ','\'',$(call given,$1))"}')
option = $(if $(call given,$1),--$2='$(subst ','\'',$(call given,$1))')

# The same as items of a JSON list, for the script of the role backup.
comma := ,
json = "$(subst ','\'',$(subst ",\",$(subst \,\\,$(call given,$1))))"
value_of = $(if $(call given,$1),$(comma)$(call json,$1))
word_of = $(if $(call given,$1),$(comma)"--$2"$(comma)$(call json,$1))
backup_does = ansible-playbook -i $(INVENTORY) playbooks/backup.yml -e '{"backup_arguments": [$1]}' $(ARGS)

# The quick layers run in parallel; the output of each is printed when it ends.  A single one prints as it runs.
ifeq ($(filter-out lint unit settings,$(or $(MAKECMDGOALS),help)),)
MAKEFLAGS += --jobs=3 $(if $(word 2,$(MAKECMDGOALS)),--output-sync=target)
endif

.DEFAULT_GOAL := help
.PHONY: inventory help init deploy check rotate uninstall backup backups verify-backup backup-key restore test lint lint-ansible lint-rest unit settings molecule e2e everything bench engine lock docs compose traits clean

help: ## List the targets
	@grep -hE '^[a-z0-9-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 16

deploy: inventory $(VENV)/run.stamp ## Deploy, change or repair the Hub on this machine (or INVENTORY=...)
	ansible-playbook -i $(INVENTORY) site.yml $(ARGS)

check: inventory $(VENV)/run.stamp ## Show what a deploy would change, and change nothing
	ansible-playbook -i $(INVENTORY) site.yml --check --diff $(ARGS)

init: $(VENV)/run.stamp ## Write inventory, settings and vault for another machine: HOST=hub.example.org ADMIN=your-github-login [USER=root NAME=... URL=...]
	python -m bin.init $(call option,HOST,host) $(call option,ADMIN,admin) $(call option,USER,user) $(call option,NAME,name) $(call option,URL,url)

rotate: inventory $(VENV)/run.stamp ## Replace a generated secret, and deploy: SECRET=cookie_secret|crypt_key|proxy_token|...
	ansible-playbook -i $(INVENTORY) playbooks/rotate.yml -e secret_to_rotate=$(SECRET) $(ARGS)

uninstall: inventory $(VENV)/run.stamp ## Remove the Hub, but not its users' files: ARGS=--check shows what; [STOP_SERVERS=yes DELETE_DATA=<its name>]
	ansible-playbook -i $(INVENTORY) playbooks/uninstall.yml $(call extra,STOP_SERVERS,stop_servers) $(call extra,DELETE_DATA,delete_data_of) $(ARGS)

backup: inventory $(VENV)/run.stamp ## Make a backup now
	$(call backup_does,"run")

backups: inventory $(VENV)/run.stamp ## List the backups, and the last result
	$(call backup_does,"list")

verify-backup: inventory $(VENV)/run.stamp ## Read the backups' data back, or a part of it: [PART=5%]
	$(call backup_does,"verify"$(call value_of,PART))

backup-key: inventory $(VENV)/run.stamp ## Show the key of the backups, on a terminal only
	python -m bin.backup_key $(INVENTORY) $(ARGS)

restore: inventory $(VENV)/run.stamp ## Restore USER=... [SERVER=... FILE=... DAY=... IN_PLACE=yes CONFIRM=<user>], or HUB=yes or ALL=yes CONFIRM=<name>
	$(call backup_does,"restore"$(call word_of,USER,user)$(call word_of,SERVER,server)$(call word_of,FILE,path)$(call word_of,DAY,snapshot)$(if $(call given,IN_PLACE),$(comma)"--in-place")$(if $(call given,HUB),$(comma)"--hub")$(if $(call given,ALL),$(comma)"--all")$(call word_of,CONFIRM,confirm))

test: $(VENV)/dev.stamp ## All tests, the quick ones first, with a report of times and failures
	+MAKE=$(MAKE) tests/layers.py "lint unit settings" everything

lint: lint-ansible lint-rest ## ansible-lint, yamllint, ruff, mypy (seconds)

lint-ansible: $(VENV)/dev.stamp
	ansible-lint --offline --strict

lint-rest: $(VENV)/dev.stamp
	yamllint --strict .
	ruff check .
	ruff format --check .
	mypy

unit: $(VENV)/dev.stamp ## Unit tests (seconds, no Docker)
	pytest --numprocesses 3 tests/unit

settings: $(VENV)/dev.stamp ## Bad settings and their error messages (seconds, no Docker)
	pytest --numprocesses 2 tests/settings

engine: $(VENV)/run.stamp ## Set up a Docker engine on this machine with the role docker
	ansible-playbook -i $(INVENTORY) playbooks/engine.yml $(ARGS)

molecule: $(VENV)/dev.stamp engine ## Test the roles on throwaway machines (SCENARIO=... for one scenario)
	molecule/run $(SCENARIO)

e2e: $(VENV)/dev.stamp engine ## End-to-end tests of a deployed Hub, over HTTP and in Chromium
	tests/e2e/run

# Scenarios and the end-to-end tests, four at a time.
everything: $(VENV)/dev.stamp engine
	molecule/run everything

bench: $(VENV)/dev.stamp engine ## Compare our figures with those of stock JupyterHub
	bench/run

lock: $(VENV)/bin/uv ## Resolve every *.in into its lock file with hashes
	for file in $(LOCKS); do \
	  $(UV_COMPILE) $(UPGRADE) $$file.in --output-file $$file.txt || exit; done

docs: $(VENV)/dev.stamp ## Write docs/reference/ from the roles' specs
	python -m bin.reference

compose: $(VENV)/dev.stamp ## Write compose/, the Hub for Coolify and Docker Compose, from the roles' sources
	PYTHONPATH=images/hub python -m bin.compose

traits: $(VENV)/dev.stamp ## Write the table of JupyterHub's options that hub_traits is checked against
	PYTHONPATH=images/hub python -m bin.traits

clean: ## Remove the virtual environment and caches (the Hub stays)
	rm -rf $(VENV) .ansible .mypy_cache .pytest_cache .ruff_cache

# Ansible treats a missing inventory as an empty one, and succeeds.
inventory:
	@test -e "$(INVENTORY)" || { echo "The inventory $(INVENTORY) does not exist: correct INVENTORY=..." >&2; exit 2; }

$(VENV)/bin/uv: images/base/uv.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "Python 3.11 or newer is needed: make $(MAKECMDGOALS) PYTHON=/path/to/python3.13" >&2; exit 1; }
	$(PYTHON) -m venv $(VENV)
	PIP_CERT=$${PIP_CERT:-$$($(VENV)/bin/pip config get global.cert 2>/dev/null || echo $${SSL_CERT_FILE:-$(SYSTEM_CERTS)})} \
	  $(VENV)/bin/pip install --quiet --disable-pip-version-check --require-hashes -r images/base/uv.txt
	@touch $@

$(VENV)/run.stamp: requirements/run.txt $(VENV)/bin/uv
	$(UV_INSTALL) -r requirements/run.txt
	@touch $@

$(VENV)/dev.stamp: requirements/dev.txt $(VENV)/run.stamp
	$(UV_INSTALL) -r requirements/dev.txt
	@# For a schema check that is not used; importing it is most of the time that importing JupyterHub takes.
	$(VENV)/bin/uv pip uninstall --quiet --python $(VENV)/bin/python rfc3987-syntax lark
	@touch $@
