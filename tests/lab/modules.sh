#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# Sourced by whoever makes an initramfs: which modules of a fetched kernel go into it.

# copy_modules KERNEL_DIR ROOT MODULE...: the modules and what they need, unpacked, to ROOT/modules; the order in which
# to load them to ROOT/order. What is built into the kernel is skipped.
copy_modules() {
	local kernel=$1 root=$2 version module path name
	shift 2
	version=$(<"$kernel/version")
	mkdir -p "$root/modules"
	touch "$root/order"
	for module in "$@"; do
		while read -r path; do
			name=$(basename "$path")
			name=${name%%.ko*}.ko
			[ -e "$root/modules/$name" ] && continue
			case $path in
			*.xz) xz -dc "$path" ;;
			*.zst) zstd -dcq "$path" ;;
			*) cat "$path" ;;
			esac >"$root/modules/$name"
			echo "$name" >>"$root/order"
		done < <(modprobe -d "$kernel" -S "$version" --show-depends "$module" | awk '$1 == "insmod" {print $2}')
	done
}
