# darkmatter: `make demo` and `make test` are all a newcomer needs; `make help` lists the rest.

BUILD ?= release
O     := build/$(BUILD)
PORT  ?= 5002
CC    ?= cc

WARNINGS := -Wall -Wextra -Wpedantic -Wshadow -Wconversion -Wno-sign-conversion -Wdouble-promotion \
            -Wformat=2 -Wundef -Wvla -Wstrict-prototypes -Wmissing-prototypes -Wcast-qual \
            -Wpointer-arith -Wwrite-strings -Wno-missing-field-initializers
ifdef CI
WARNINGS += -Werror
endif

COMMON := -std=c11 -D_GNU_SOURCE -I. -g -pthread $(WARNINGS) -MMD -MP
HARDEN := -D_FORTIFY_SOURCE=2 -fstack-protector-strong
FLAGS_release := -O2 $(HARDEN)
FLAGS_asan    := -O1 -fsanitize=address,undefined -fno-sanitize-recover=all -fno-omit-frame-pointer
FLAGS_tsan    := -O1 -fsanitize=thread
FLAGS_fuzz    := -O1 -fsanitize=fuzzer-no-link,address,undefined -fno-sanitize-recover=all
LINK_release  := -Wl,-z,relro,-z,now
LINK_asan     := -fsanitize=address,undefined
LINK_tsan     := -fsanitize=thread
LINK_fuzz     := -fsanitize=fuzzer,address,undefined
ifeq ($(BUILD),fuzz)
CC := clang
endif

# The order of every sum is written down in the kernels (core/math/kernels_level.h): the compiler may
# neither reorder them nor contract a product and a sum.
FLAGS_kernels := -O3 -fno-math-errno -fno-trapping-math -ffp-contract=off
ifeq ($(BUILD),fuzz) # no parser of foreign bytes; clang needs minutes to instrument the unrolled loops
FLAGS_kernels += -fno-sanitize=all
endif

CFLAGS  ?=
LDFLAGS ?=
LDLIBS  := -lmicrohttpd -lcjson -lsqlite3 -lz -ldl -lm

CORE    := $(sort $(wildcard core/*.c core/*/*.c))
SERVER  := $(sort $(filter-out server/main.c,$(wildcard server/*.c server/*/*.c)))
OBJECTS := $(patsubst %.c,$(O)/%.o,$(CORE) $(SERVER))
LIBRARY := $(O)/libdarkmatter.a
TESTS   := $(patsubst tests/%.c,$(O)/tests/%,$(sort $(wildcard tests/test_*.c)))
FUZZERS := $(patsubst tests/fuzz/%.c,build/fuzz/%,$(sort $(wildcard tests/fuzz/fuzz_*.c)))

.PHONY: all demo test deps lint format check asan tsan fuzz soak bench e2e container clean help \
        unit compile_commands print-flags

.SECONDARY: # objects of the tests stay for the next build

all: darkmatter

darkmatter: $(O)/darkmatter
	@ln -sf $< $@

$(O)/darkmatter: $(O)/server/main.o $(LIBRARY)
	$(CC) $(CFLAGS) -pthread $(LDFLAGS) $(LINK_$(BUILD)) -o $@ $^ $(LDLIBS)

$(LIBRARY): $(OBJECTS)
	@rm -f $@
	$(AR) rcs $@ $^

$(O)/core/math/%.o: EXTRA := $(FLAGS_kernels)
$(O)/%.o: %.c Makefile
	@mkdir -p $(@D)
	$(CC) $(COMMON) $(FLAGS_$(BUILD)) $(EXTRA) $(CFLAGS) -c -o $@ $<

$(O)/tests/test_%: $(O)/tests/test_%.o $(LIBRARY)
	$(CC) $(CFLAGS) -pthread $(LDFLAGS) $(LINK_$(BUILD)) -o $@ $^ $(LDLIBS)

$(O)/tests/tools/%: $(O)/tests/tools/%.o $(LIBRARY)
	$(CC) $(CFLAGS) -pthread $(LDFLAGS) $(LINK_$(BUILD)) -o $@ $^ $(LDLIBS)

$(O)/tests/bench/%: $(O)/tests/bench/%.o $(LIBRARY)
	$(CC) $(CFLAGS) -pthread $(LDFLAGS) $(LINK_$(BUILD)) -o $@ $^ $(LDLIBS)

# --- what people type -------------------------------------------------------------------------

demo: ## install what is missing, build, serve the bundled model on http://127.0.0.1:5002 (PORT=N)
	@tools/deps.sh run
	@$(MAKE) --no-print-directory -j2 darkmatter
	@./darkmatter serve --port $(PORT)

test: ## the same, then every test; the last line is "N passed, N failed"
	@tools/deps.sh run test
	@$(MAKE) --no-print-directory -j2 darkmatter unit
	@tests/run.sh $(O) all

deps: ## install the Debian packages that building and testing need (sudo when not root)
	@tools/deps.sh run test lint

unit: $(TESTS)

lint: ## clang-format, clang-tidy, cppcheck, shellcheck, the layer check
	@tools/deps.sh run lint
	@tools/lint.sh

format: ## rewrite the sources as .clang-format says
	clang-format -i $$(git ls-files '*.c' '*.h' ':!demo')

asan: ## the unit tests under AddressSanitizer and UndefinedBehaviorSanitizer
	@$(MAKE) --no-print-directory -j2 BUILD=asan unit build/asan/darkmatter
	@tests/run.sh build/asan unit

tsan: ## the unit tests under ThreadSanitizer
	@$(MAKE) --no-print-directory -j2 BUILD=tsan unit build/tsan/darkmatter
	@tests/run.sh build/tsan unit

FUZZ_SECONDS ?= 60
fuzz: ## each fuzzer for FUZZ_SECONDS (60) on top of its kept inputs
	@tools/deps.sh run test lint
	@$(MAKE) --no-print-directory -j2 BUILD=fuzz $(FUZZERS)
	@tests/fuzz/run.sh $(FUZZ_SECONDS)

build/fuzz/fuzz_%: build/fuzz/tests/fuzz/fuzz_%.o $(LIBRARY)
	$(CC) $(CFLAGS) -pthread $(LINK_fuzz) -o $@ $^ $(LDLIBS)

SOAK_SECONDS ?= 600
SOAK_KILLS   ?= 200
soak: darkmatter ## half an hour: load beside an index, SIGKILLs, the unit under systemd (SOAK_SECONDS, SOAK_KILLS)
	@python3 -B tests/soak/load.py --seconds $(SOAK_SECONDS)
	@python3 -B tests/soak/kills.py --kills $(SOAK_KILLS)
	@tests/soak/service.sh

BENCH ?=
bench: darkmatter build/release/tests/tools/make_weights ## speeds beside the machine's peaks, at gemma-2-2b's sizes (5.5 GB, made once) and on the demo
	@tools/bench.sh $(BENCH)

e2e: darkmatter ## the published npm client and headless Chromium against the real program
	@tests/e2e/run.sh

container: ## build the image (docker, else buildah) and curl it
	@tools/container.sh

check: lint test asan tsan fuzz e2e ## everything above, one after the other

compile_commands: ## compile_commands.json for clangd and clang-tidy
	@tools/compile_commands.sh > compile_commands.json

print-flags:
	@echo $(filter-out -MMD -MP,$(COMMON)) $(FLAGS_$(BUILD)) $(CFLAGS)

clean: ## remove what was built
	rm -rf build darkmatter compile_commands.json

help: ## this list
	@grep -E '^[a-z_0-9]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | sort | expand -t 18

-include $(shell find $(O) -name '*.d' 2>/dev/null)
