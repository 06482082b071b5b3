# SPDX-License-Identifier: GPL-2.0
# `make help` says what there is. Quiet by default; V=1 shows the commands.

prefix ?= /usr/local
bindir ?= $(prefix)/bin
mandir ?= $(prefix)/share/man
datadir ?= $(prefix)/share/vmlat
DESTDIR ?=

CLANG ?= clang
BPFTOOL ?= $(shell command -v bpftool || echo /usr/sbin/bpftool)
PKG_CONFIG ?= pkg-config

# As BPF has it: x86, arm64. For another than this machine's, the compiler and the libraries are Debian's for that.
machine := $(subst x86_64,x86,$(subst aarch64,arm64,$(shell uname -m)))
ARCH ?= $(machine)
triplet_x86 := x86_64-linux-gnu
triplet_arm64 := aarch64-linux-gnu
ifeq ($(ARCH),$(machine))
build := build
else
build := build/$(ARCH)
PKG_CONFIG := PKG_CONFIG_LIBDIR=/usr/lib/$(triplet_$(ARCH))/pkgconfig $(PKG_CONFIG)
ifeq ($(origin CC),default)
CC := $(triplet_$(ARCH))-gcc
endif
endif

libraries := libbpf json-c libcap-ng libmnl
Q := $(if $(V),,@)
say = $(if $(V),,@printf '  %-8s %s\n' '$(1)' '$(2)')

sources := $(sort $(wildcard src/*.c))
objects := $(sources:src/%.c=$(build)/src/%.o)
unit_sources := $(sort $(wildcard tests/unit/*.c))
unit_tests := $(unit_sources:tests/unit/%.c=$(build)/unit/%)
shell_scripts = $(shell grep -lIE '^\#!/bin/(ba)?sh' -r tests .ci)
c_files := $(sort $(wildcard src/*.[ch] bpf/*.[ch] include/*.h tests/unit/*.[ch] tests/lab/*.[ch] \
	tests/planted/*.h tests/verifier/*.c tests/bench/*.[ch]))

CFLAGS ?= -O2 -g
cflags := -std=gnu11 -D_GNU_SOURCE -Wall -Wextra -Iinclude -Isrc -I$(build) \
	$(shell $(PKG_CONFIG) --cflags $(libraries) 2>/dev/null)
libs = $(shell $(PKG_CONFIG) --libs $(libraries))
bpf_flags := -g -O2 -Wall -Wextra -Wno-unused-parameter -target bpf -mcpu=v3 \
	-D__TARGET_ARCH_$(ARCH) -Ivmlinux/$(ARCH) -Ivmlinux -Iinclude -Ibpf $(planted_flags)

# To build, and to install on a host of VMs.
build_packages := gcc make clang llvm bpftool libbpf-dev libelf-dev zlib1g-dev libjson-c-dev \
	libcap-ng-dev libmnl-dev pkg-config libc6-dev
# To check, and to run the lab: not for a host of VMs, since Open vSwitch is among them.
test_packages := libcmocka-dev clang-format clang-tidy cppcheck shellcheck mandoc python3 \
	python3-fastjsonschema jq qemu-system-x86 busybox-static cpio kmod xz-utils zstd \
	openvswitch-switch iproute2 iputils-ping iperf3 tcpdump ethtool ca-certificates \
	debian-archive-keyring
bench_packages := bpftrace

.PHONY: all
all: $(build)/vmlat

-include $(wildcard $(build)/*/*.d $(build)/*.d)

$(build)/vmlat: $(objects)
	$(call say,LINK,$@)
	$(Q)$(CC) $(CFLAGS) $(LDFLAGS) $^ -o $@ $(libs)

$(build)/src/%.o: src/%.c | $(build)/vmlat.skel.h
	$(call say,CC,$<)
	$(Q)mkdir -p $(@D)
	$(Q)$(CC) $(CFLAGS) $(cflags) -MMD -MP -c $< -o $@

$(build)/vmlat.bpf.o: bpf/vmlat.bpf.c
	$(call say,BPF,$<)
	$(Q)mkdir -p $(@D)
	$(Q)$(CLANG) $(bpf_flags) -MMD -MP -c $< -o $@

# bpftool names the skeleton after the object; a failed run leaves no half of it behind
$(build)/vmlat.skel.h: $(build)/vmlat.bpf.o
	$(call say,SKEL,$@)
	$(Q)$(BPFTOOL) gen skeleton $< name vmlat_bpf > $@.new && mv $@.new $@

.PHONY: install uninstall
install: all
	install -D -m 755 $(build)/vmlat $(DESTDIR)$(bindir)/vmlat
	install -D -m 644 docs/vmlat.8 $(DESTDIR)$(mandir)/man8/vmlat.8
	install -D -m 644 docs/schema.json $(DESTDIR)$(datadir)/schema.json

uninstall:
	rm -f $(DESTDIR)$(bindir)/vmlat $(DESTDIR)$(mandir)/man8/vmlat.8
	rm -rf $(DESTDIR)$(datadir)

.PHONY: deps test-deps bench-deps
deps: packages := $(build_packages)
test-deps: packages := $(build_packages) $(test_packages)
bench-deps: packages := $(build_packages) $(test_packages) $(bench_packages)
deps test-deps bench-deps:
	$(call say,APT,$@)
	$(Q)if dpkg-query -W -f '$${Status}\n' $(packages) 2>&1 | grep -qv 'install ok installed'; \
	then \
		apt-get update -qq && DEBIAN_FRONTEND=noninteractive \
		apt-get install -y -qq --no-install-recommends $(packages) >/dev/null; \
	fi

.PHONY: demo
demo: test-deps
	$(Q)$(MAKE) all
	$(Q)tests/demo/run

# --- tests ---

.PHONY: check check-all
check: test-deps
	$(Q)$(MAKE) all
	$(Q)tests/check
check-all: test-deps
	$(Q)$(MAKE) all
	$(Q)EXTENT=all tests/check

.PHONY: unit
unit: $(unit_tests)
	$(Q)failed=0; for test in $(unit_tests); do $$test || failed=1; done; exit $$failed

# Under the sanitizers, and a test that no group names is an error. src (but main) is an archive:
# a program that defines what one of its files defines stands in for that file.
unit_flags := -Ibpf -Werror=unused -Werror=missing-prototypes \
	-fsanitize=address,undefined -fno-sanitize-recover=all -fno-omit-frame-pointer

$(build)/unit/%.o: src/%.c | $(build)/vmlat.skel.h
	$(call say,CC,$@)
	$(Q)mkdir -p $(@D)
	$(Q)$(CC) $(CFLAGS) $(cflags) $(unit_flags) -MMD -MP -c $< -o $@

$(build)/unit/vmlat.a: $(patsubst src/%.c,$(build)/unit/%.o,$(filter-out src/main.c,$(sources)))
	$(Q)rm -f $@ && $(AR) rcs $@ $^

$(build)/unit/%: tests/unit/%.c $(build)/unit/vmlat.a
	$(call say,UNIT,$<)
	$(Q)$(CC) $(CFLAGS) $(cflags) $(unit_flags) -MMD -MP $(filter %.c %.a,$^) -o $@ \
		$(libs) -lcmocka

# What the verifier says of each program, against a table; or the table anew.
$(build)/verifier: tests/verifier/verifier.c $(filter-out $(build)/src/main.o,$(objects))
	$(call say,LINK,$@)
	$(Q)$(CC) $(CFLAGS) $(cflags) -MMD -MP $(LDFLAGS) $(filter %.c %.o,$^) -o $@ $(libs)

.PHONY: verifier verifier-table
verifier: all
	$(Q)tests/verifier/run
verifier-table: all
	$(Q)tests/verifier/run --table

# A build with a mistake in it, which the tests are to find.
.PHONY: planted
planted:
	$(Q)$(MAKE) --no-print-directory build=$(build)/planted \
		planted_flags='-DVMLAT_PLANTED -Itests/planted' all

.PHONY: lab
lab: all
	$(Q)tests/e2e/run

# What tracing costs, in instructions a packet: compared with docs/benchmarks.json, or written there.
# PARTS="tx idle" measures these alone, BENCH_FLAGS=--programs shows each program.
bench_programs := $(addprefix $(build)/bench/,load attach $(foreach kind,floor span, \
	$(foreach way,tx rx,$(foreach mode,fentry kprobe,$(kind)-$(way)-$(mode).o))))

.PHONY: bench bench-table
bench: bench-deps
	$(Q)$(MAKE) --no-print-directory all $(bench_programs)
	$(Q)tests/bench/run $(BENCH_FLAGS) $(PARTS)
bench-table: BENCH_FLAGS := --write
bench-table: bench

$(build)/bench/load: tests/bench/load.c tests/lab/frame.c tests/lab/frame.h
$(build)/bench/attach: tests/bench/attach.c
$(build)/bench/load $(build)/bench/attach:
	$(call say,CC,$@)
	$(Q)mkdir -p $(@D)
	$(Q)$(CC) $(CFLAGS) $(cflags) -Itests/lab $(filter %.c,$^) -o $@ -lbpf

# floor-tx-fentry.o is floor.bpf.c with TX and FENTRY
$(build)/bench/%.o:
	$(call say,BPF,$@)
	$(Q)mkdir -p $(@D)
	$(Q)$(CLANG) $(filter-out -MMD -MP,$(bpf_flags)) -I/usr/include/$(shell $(CC) -print-multiarch) \
		$(patsubst %,-D%,$(shell echo $* | tr a-z A-Z | cut -d- -f2- | tr - ' ')) \
		-c $(filter %.c,$^) -o $@
$(filter $(build)/bench/floor-%,$(bench_programs)): tests/bench/floor.bpf.c
$(filter $(build)/bench/span-%,$(bench_programs)): tests/bench/span.bpf.c

.PHONY: format lint
format:
	$(Q)clang-format -i $(c_files)

# it knows no cleanup attribute, and so finds leaks; LeakSanitizer looks for them in unit tests
cppcheck_flags := --quiet --error-exitcode=1 --std=c11 -D_GNU_SOURCE -Iinclude -Isrc -Ibpf \
	--enable=warning,performance,portability --inline-suppr --suppress=missingIncludeSystem \
	--suppress=resourceLeak --suppress=memleak \
	'-DLIBBPF_OPTS(type,name,...)=struct type name = { __VA_ARGS__ }'

lint: $(build)/vmlat.skel.h
	$(call say,LINT,clang-format)
	$(Q)clang-format --dry-run --Werror $(c_files)
	$(call say,LINT,clang-tidy)
	$(Q)printf '%s\n' $(sources) $(unit_sources) tests/verifier/verifier.c | xargs -P "$$(nproc)" -I{} \
		clang-tidy --quiet --config-file=.clang-tidy {} -- $(cflags) -Ibpf \
		2>$(build)/vmlat.lint || { cat $(build)/vmlat.lint; exit 1; }
	$(call say,LINT,cppcheck)
	$(Q)cppcheck $(cppcheck_flags) src tests/unit tests/lab tests/verifier tests/bench/load.c \
		tests/bench/attach.c
	$(call say,LINT,shellcheck)
	$(Q)shellcheck -x $(shell_scripts)

# --- the kernel's types ---

.PHONY: vmlinux
vmlinux: all
	$(call say,BTF,vmlinux/$(ARCH)/vmlinux.h)
ifeq ($(ARCH),arm64)
	$(Q)tests/lab/fetch-kernel 6.1 arm64 >/dev/null
	$(Q)tests/lab/image-btf build/kernels/6.1-arm64/boot/vmlinuz-* > $(build)/vmlinux.btf
	$(Q)$(BPFTOOL) btf dump file $(build)/vmlinux.btf format c > vmlinux/$(ARCH)/vmlinux.h
else
	$(Q)tests/lab/boot -d vmlinux/$(ARCH) \
		'bpftool btf dump file /sys/kernel/btf/vmlinux format c > $$LAB_RESULTS/vmlinux.h'
endif

.PHONY: clean
clean:
	rm -rf $(build)/src $(build)/unit $(build)/vmlat $(build)/vmlat.* $(build)/verifier*

.PHONY: help
help:
	@echo 'make            build/vmlat, from system packages (make deps installs them)'
	@echo 'make demo       the main job on real traffic, in the lab VM (as root)'
	@echo 'make check      the tests (as root), on four kernels; KERNELS=6.1 on one, see docs/lab.md'
	@echo 'make check-all  all of them on all kernels'
	@echo 'make unit       unit tests alone'
	@echo 'make lab        end-to-end tests alone, in the lab VM'
	@echo 'make verifier   what each kernel says of the BPF programs; verifier-table keeps it'
	@echo 'make bench      what tracing costs, in instructions a packet, in the lab VM; bench-table stores it'
	@echo 'make lint       clang-format, clang-tidy, cppcheck, shellcheck'
	@echo 'make format     clang-format, in place'
	@echo 'make vmlinux    vmlinux/ARCH/vmlinux.h again, from the lab kernel'
	@echo 'make deps       install the Debian packages to build with (as root)'
	@echo 'make test-deps  those to test with, too: QEMU, Open vSwitch, … (as root)'
	@echo 'make install    to DESTDIR, prefix (/usr/local); make uninstall takes it away'
	@echo 'make clean      what was built, but not the kernels that the lab fetched'
	@echo 'V=1 shows the commands.'
