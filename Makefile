# Terminals. `make run` and `make test` are all that a newcomer needs; `make help` lists the rest.
.DEFAULT_GOAL = all
.DELETE_ON_ERROR:
SHELL = /bin/sh

CC ?= gcc
SANITIZE ?= 0
ifeq ($(SANITIZE),1)
BUILD ?= build/sanitize
OPTIMIZE = -O1 -fno-omit-frame-pointer -fsanitize=address,undefined -fno-sanitize-recover=undefined
CFLAGS ?= -g1 # functions and lines, which reports name: a fifth less to compile
else
BUILD ?= build/release
OPTIMIZE = -O2 -D_FORTIFY_SOURCE=2
endif

WARNINGS = -Wall -Wextra -Werror -Wshadow -Wstrict-prototypes -Wmissing-prototypes -Wvla -Wformat=2 -Wundef
HARDENING = -fstack-protector-strong -fPIE -fno-strict-aliasing
CFLAGS ?= -g
ALL_CFLAGS = -std=gnu17 $(CFLAGS) $(OPTIMIZE) $(WARNINGS) $(HARDENING) -D_GNU_SOURCE -I. -MMD -MP
# For unit tests and fuzzers, which are many: gold (of binutils, where it is there) links in a third of the time.
LINK_FAST := $(if $(shell command -v ld.gold),-fuse-ld=gold)
ALL_LDFLAGS = $(LDFLAGS) $(filter -fsanitize=%,$(OPTIMIZE)) -pie -Wl,-z,relro,-z,now -Wl,--as-needed

# Each program is a folder: its sources, and the libraries it may use.
PROGRAMS = terminals-api terminals-gate terminals-provisioner terminals-operator open-terminal terminals
SRC_terminals-api         = $(wildcard fcgi-api/*.c)
LIB_terminals-api         = -lfcgi -lcurl -ljwt -ljson-c -lcrypto -lpthread
SRC_terminals-gate        = $(wildcard gate/*.c)
LIB_terminals-gate        = -levent_core -ljson-c -lcrypto
SRC_terminals-provisioner = $(wildcard provisioner/*.c provisioner/backends/*.c) sql/embedded_sql.c
LIB_terminals-provisioner = -levent_core -lcurl -lsqlite3 -lpq -lyaml -ljson-c -lcrypto -lm
# What the operator shares with the provisioner's backends, which make the same objects.
SRC_terminals-operator    = $(wildcard provisioner/operator/*.c) provisioner/policy.c provisioner/security_context.c \
    $(addprefix provisioner/backends/,curl_answer.c curl_loop.c $(addprefix kubernetes_,call.c client.c config.c container.c \
        json.c manifest.c names.c options.c pod.c pods.c security.c template.c terminal.c watch.c))
LIB_terminals-operator    = -levent_core -lcurl -lyaml -ljson-c -lcrypto -lm
SRC_open-terminal         = $(wildcard instance/*.c)
# Static, so that no GnuTLS comes along: instance/no_tls.c stands in for it (-u: also where it lies in an archive).
LIB_open-terminal         = -Wl,-u,gnutls_global_init -Wl,-Bstatic -lmicrohttpd -lminizip -lz -lexpat -lpcre2-8 -Wl,-Bdynamic -lwslay -ljson-c -lpthread
SRC_terminals             = $(wildcard cli/*.c)
LIB_terminals             = -levent_core -lcurl -lyaml -ljson-c -lcrypto -lm

COMMON_OBJECTS = $(patsubst %.c,$(BUILD)/%.o,$(wildcard common/*.c))
COMMON_LIBRARY = $(BUILD)/libcommon.a

.PHONY: run
run: ## install what is missing, build, and start everything on this machine (Ctrl-C ends it)
	@scripts/install-deps run
	@$(MAKE) --no-print-directory -q all 2>/dev/null || echo "make run: building, which says nothing until it is done: a minute or two"
	@$(MAKE) --no-print-directory -s -j2 all
	@TERMINALS_BACKEND=$${TERMINALS_BACKEND:-local} scripts/terminals serve

.PHONY: test
test: ## install what is missing, build, and run every check and test (SANITIZE=1: only unit and e2e, under ASan + UBSan)
	@scripts/install-deps test
	@tests/run.py $(if $(filter 1,$(SANITIZE)),--sanitize)

# `terminals` finds the other programs beside itself, and haproxy.cfg in ../../share/terminals (cli/executables.c).
PREFIX ?= /usr/local
PROGRAM_DIR = $(DESTDIR)$(PREFIX)/libexec/terminals
.PHONY: install
install: ## install the programs and the systemd service (PREFIX, DESTDIR as usual)
	@[ -n "$(DESTDIR)" ] || scripts/install-deps run
	@$(MAKE) --no-print-directory -s -j2 all
	install -d $(PROGRAM_DIR) $(DESTDIR)$(PREFIX)/bin $(DESTDIR)$(PREFIX)/share/terminals \
	    $(DESTDIR)$(PREFIX)/share/doc/terminals $(DESTDIR)/etc/systemd/system $(DESTDIR)/usr/lib/sysusers.d
	install -m 755 $(addprefix $(BUILD)/bin/,$(PROGRAMS)) scripts/idle-cleanup $(PROGRAM_DIR)
	ln -sf ../libexec/terminals/terminals $(DESTDIR)$(PREFIX)/bin/terminals
	install -m 644 haproxy/haproxy.cfg scripts/crontab $(DESTDIR)$(PREFIX)/share/terminals
	install -m 644 README.md LICENSE docs/*.md $(DESTDIR)$(PREFIX)/share/doc/terminals
	install -m 644 deploy/systemd/terminals.service $(DESTDIR)/etc/systemd/system
	install -m 644 deploy/systemd/terminals.sysusers $(DESTDIR)/usr/lib/sysusers.d/terminals.conf
	@[ -n "$(DESTDIR)" ] || systemd-sysusers terminals.conf
	@[ -n "$(DESTDIR)" ] || [ ! -d /run/systemd/system ] || systemctl daemon-reload

# BUILD_FLAGS goes to `docker build`: --build-arg BASE_IMAGE=…, for example. Without BuildKit the stage of HAProxy's image is built on
# the way to instance-debian: on nothing, so that nothing is fetched for it.
.PHONY: images
images: ## build the two images for users: open-terminal-native:latest (small) and open-terminal-native:debian
	docker build $(BUILD_FLAGS) --target instance --tag open-terminal-native:latest .
	docker build --build-arg HAPROXY_IMAGE=scratch $(BUILD_FLAGS) --target instance-debian --tag open-terminal-native:debian .

.PHONY: bench fuzz format install-deps clean
bench: ## measure, and print the table that the README quotes (QUICK=1: a moment of everything; PARTS="http cold": only these)
	@scripts/install-deps bench
	@$(MAKE) --no-print-directory -s -j2 all bench-tools
	@TERMINALS_BIN=$(CURDIR)/$(BUILD)/bin /usr/bin/python3 tests/bench/bench.py $(if $(filter 1,$(QUICK)),--quick) $(PARTS)

# The clients of the benchmarks: each a file of tests/bench.
.PHONY: bench-tools
bench-tools: $(patsubst tests/bench/%.c,$(BUILD)/bench/%,$(wildcard tests/bench/*.c))
$(BUILD)/bench/%: $(BUILD)/tests/bench/%.o
	@mkdir -p $(@D)
	$(CC) $(ALL_LDFLAGS) -o $@ $^

fuzz: ## fuzz every parser for FUZZ_SECONDS each (default 600)
	@scripts/install-deps test
	@FUZZ_SECONDS=$${FUZZ_SECONDS:-600} tests/run.py fuzz

format: ## lay out the C code
	@clang-format -i $(wildcard */*.[ch] provisioner/*/*.[ch] tests/*/*.[ch] tests/*/*/*.[ch])

install-deps: ## install the Debian packages that building, running and testing need
	@scripts/install-deps all

clean: ## remove everything built
	rm -rf build

.PHONY: all help
all: $(addprefix $(BUILD)/bin/,$(PROGRAMS)) ## build every program into $(BUILD)/bin

help: ## list the targets
	@sed -n 's/^\([a-z][a-z-]*\):.*## \(.*\)/  \1\t\2/p' Makefile | expand -t 24

define program_rule
.PHONY: $(1)
$(1): $(BUILD)/bin/$(1)
$(BUILD)/bin/$(1): $$(patsubst %.c,$(BUILD)/%.o,$$(SRC_$(1))) $(COMMON_LIBRARY)
	@mkdir -p $$(@D)
	$$(CC) $$(ALL_LDFLAGS) -o $$@ $$^ $$(LIB_$(1))
endef
$(foreach program,$(PROGRAMS),$(eval $(call program_rule,$(program))))

$(COMMON_LIBRARY): $(COMMON_OBJECTS)
	@rm -f $@
	$(AR) rcs $@ $^

$(BUILD)/%.o: %.c
	@mkdir -p $(@D)
	$(CC) $(ALL_CFLAGS) -c -o $@ $<

# The numbered files in sql/ become one C file (provisioner/migrations.h says what is in it).
$(BUILD)/sql/embedded_sql.c: scripts/embed-sql $(wildcard sql/*/*.sql)
	@mkdir -p $(@D)
	scripts/embed-sql $(filter %.sql,$^) > $@
$(BUILD)/sql/embedded_sql.o: $(BUILD)/sql/embedded_sql.c
	$(CC) $(ALL_CFLAGS) -c -o $@ $<

$(BUILD)/common/openapi_document.o: instance/openapi.json
$(BUILD)/fcgi-api/page.o build/fuzz/objects/fcgi-api/page.o: build/dashboard/page.html
$(BUILD)/instance/docs_page.o: instance/docs.html
$(BUILD)/instance/notebook_kernel.o: instance/notebook_bridge.py

# The admin page, all in one document. fcgi-api/page.c takes what is made beside it, too.
PAGE_MODULES = build/dashboard/node_modules
build/dashboard/page.html: dashboard/bundle $(wildcard dashboard/*.html dashboard/*.css dashboard/src/*.js dashboard/src/views/*.js) $(PAGE_MODULES)/.package-lock.json
	dashboard/bundle $(PAGE_MODULES) $(@D)

# What dashboard/package-lock.json names, byte for byte: for the page, and with it for the tests that drive it in a browser. Nothing of it
# is run while it is installed.
.PHONY: browser-modules
browser-modules: build/browser/node_modules/.package-lock.json
build/%/node_modules/.package-lock.json: dashboard/package-lock.json
	@command -v npm >/dev/null || { echo "make: the admin page needs npm: scripts/install-deps run" >&2; exit 1; }
	mkdir -p build/$*
	cp dashboard/package.json dashboard/package-lock.json build/$*/
	cd build/$* && npm ci $(if $(filter dashboard,$*),--omit=dev) --ignore-scripts --no-audit --no-fund --loglevel=error
	touch $@

# Unit tests: tests/unit/<folder>/test_<what>.c, each a cmocka program linked with its folder (without main.c) and common.
# A test may #include the .c file it looks into.
UNIT_TESTS = $(patsubst %.c,$(BUILD)/%,$(wildcard tests/unit/*/test_*.c))
UNIT_FOLDER_common      =
UNIT_FOLDER_fcgi-api    = terminals-api
UNIT_FOLDER_gate        = terminals-gate
UNIT_FOLDER_provisioner = terminals-provisioner
UNIT_FOLDER_operator    = terminals-operator
UNIT_FOLDER_instance    = open-terminal
UNIT_FOLDER_cli         = terminals

define unit_rule
$(BUILD)/libunit-$(1).a: $$(patsubst %.c,$(BUILD)/%.o,$$(filter-out %/main.c,$$(SRC_$$(UNIT_FOLDER_$(1)))))
	@rm -f $$@
	$$(AR) rcs $$@ $$^
$(BUILD)/tests/unit/$(1)/%: $(BUILD)/tests/unit/$(1)/%.o $(BUILD)/libunit-$(1).a $(COMMON_LIBRARY)
	$$(CC) $$(LINK_FAST) $$(ALL_LDFLAGS) -o $$@ $$^ $$(LIB_$$(UNIT_FOLDER_$(1))) -lcmocka -lyaml -ljson-c -lcrypto -lm
endef
$(foreach folder,common fcgi-api gate provisioner operator instance cli,$(eval $(call unit_rule,$(folder))))

.PHONY: unit-tests
unit-tests: $(UNIT_TESTS)
ifneq ($(SANITIZE),1)
# What they test is optimized, they are not: half the time to compile. (They are in the sanitized build, with the warnings that come of it.)
$(BUILD)/tests/unit/%.o: OPTIMIZE = -O0
endif

# Fuzzers: tests/fuzz/fuzz_<what>.c, each linked with the folder that a first line `// LINK: folder` names, and common. libFuzzer,
# so clang. clang-programs makes every program of the same objects, with clang's warnings: nothing is compiled for that alone.
FUZZERS = $(patsubst tests/fuzz/%.c,build/fuzz/%,$(wildcard tests/fuzz/fuzz_*.c))
FUZZ_SANITIZE = -fsanitize=fuzzer-no-link,address,undefined -fno-sanitize-recover=undefined
FUZZ_OPTIMIZE = -g1 -O1 $(FUZZ_SANITIZE)
FUZZ_FLAGS = -std=gnu17 $(FUZZ_OPTIMIZE) $(WARNINGS) $(HARDENING) -D_GNU_SOURCE -I. -MMD -MP
.PHONY: fuzzers clang-programs
fuzzers: $(FUZZERS)
clang-programs: $(addprefix build/fuzz/bin/,$(PROGRAMS))

# What fuzzers meet of a folder: all of it or, where that is little, these. A source that is missing here is one that the linker misses.
FUZZED_fcgi-api    = $(filter-out %/main.c,$(SRC_terminals-api))
FUZZED_gate        = $(filter-out %/main.c,$(SRC_terminals-gate))
FUZZED_instance    = $(filter-out %/main.c,$(SRC_open-terminal))
FUZZED_provisioner = sql/embedded_sql.c $(addprefix provisioner/,histogram.c migrations.c postgres_link.c run_folder.c $(addprefix database,\
        .c _catalog.c _dump.c _load.c _postgres.c _sqlite.c) $(addprefix backends/,curl_answer.c curl_loop.c $(addprefix kubernetes_,\
        call.c client.c config.c names.c pod.c watch.c)))
FUZZED_operator    = $(addprefix provisioner/,policy.c security_context.c operator/blueprint.c operator/status.c $(addprefix backends/,\
        curl_answer.c curl_loop.c $(addprefix kubernetes_,call.c client.c config.c container.c json.c manifest.c names.c security.c \
        template.c terminal.c watch.c)))

build/fuzz/objects/%.o: %.c
	@mkdir -p $(@D)
	clang $(FUZZ_FLAGS) -c -o $@ $<
build/fuzz/objects/sql/embedded_sql.o: $(BUILD)/sql/embedded_sql.c
	@mkdir -p $(@D)
	clang $(FUZZ_FLAGS) -c -o $@ $<
build/fuzz/objects/tests/%.o: FUZZ_FLAGS += -Wno-missing-prototypes # it is libFuzzer that calls LLVMFuzzerTestOneInput()
# The others are compiled for clang's warnings, and to see that clang builds them: plainly, in a third of the time.
$(patsubst %.c,build/fuzz/objects/%.o,$(filter-out $(foreach folder,fcgi-api gate instance provisioner operator,$(FUZZED_$(folder))),\
    $(sort $(foreach program,$(PROGRAMS),$(SRC_$(program)))))): FUZZ_OPTIMIZE = -O0
build/fuzz/libcommon.a: $(patsubst %.c,build/fuzz/objects/%.o,$(wildcard common/*.c))
	@rm -f $@
	$(AR) rcs $@ $^

define fuzz_program_rule
build/fuzz/bin/$(1): $$(patsubst %.c,build/fuzz/objects/%.o,$$(SRC_$(1))) build/fuzz/libcommon.a
	@mkdir -p $$(@D)
	clang $$(LINK_FAST) $$(FUZZ_SANITIZE) $$(ALL_LDFLAGS) -o $$@ $$^ $$(LIB_$(1))
endef
$(foreach program,$(PROGRAMS),$(eval $(call fuzz_program_rule,$(program))))

define fuzz_folder_rule
build/fuzz/lib$(1).a: $$(patsubst %.c,build/fuzz/objects/%.o,$$(FUZZED_$(1)))
	@rm -f $$@
	$$(AR) rcs $$@ $$^
endef
$(foreach folder,fcgi-api gate instance provisioner operator,$(eval $(call fuzz_folder_rule,$(folder))))

define fuzz_rule
$(1): build/fuzz/objects/tests/fuzz/$(notdir $(1)).o $(if $(2),build/fuzz/lib$(2).a) build/fuzz/libcommon.a
	clang $$(LINK_FAST) $$(FUZZ_SANITIZE) -fsanitize=fuzzer -o $$@ $$^ $$(LIB_$$(UNIT_FOLDER_$(2))) -lyaml -ljson-c -lcrypto -lm
endef
$(foreach fuzzer,$(FUZZERS),$(eval $(call fuzz_rule,$(fuzzer),$(shell sed -n '1s|^// LINK: *||p' tests/fuzz/$(notdir $(fuzzer)).c))))

.SECONDARY:
-include $(shell find $(BUILD) build/fuzz -name '*.d' 2>/dev/null)
