#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# Sourced by every script of the lab, outside the VM and inside: where things are, how to fail, how to wait.

lab=$(cd "${BASH_SOURCE[0]%/*}" && pwd)
top=$(cd "$lab/../.." && pwd)
build=$top/build
# What the scripts that source this read; exported only to tell shellcheck that they are used.
export lab top build

die() {
	echo "${0##*/}: $*" >&2
	exit 1
}

# Two decimals of CLOCK_BOOTTIME without a process: bash's own SECONDS is too coarse, date costs a fork.
uptime_centis() {
	local now
	read -r now _ </proc/uptime
	echo $((10#${now/./}))
}

# wait_for SECONDS WHAT COMMAND...: until COMMAND succeeds; says what did not happen if it never does.
wait_for() {
	local limit=$1 what=$2 end
	shift 2
	end=$(($(uptime_centis) + limit * 100))
	until "$@" >/dev/null 2>&1; do
		if (($(uptime_centis) >= end)); then
			echo "${0##*/}: waited $limit s for $what" >&2
			return 1
		fi
		sleep 0.05
	done
}
