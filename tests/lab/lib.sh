#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# Sourced by scripts that run inside the lab, after host-up: taps and their OpenFlow rules, the datapath's flows.
#
# Addresses follow one rule: machine N has MAC 52:54:00:00:00:0N, addresses 10.0.0.N and fd00::N, and a second "sink"
# MAC 52:54:00:00:01:0N. OVS delivers both; no stack listens to the sink's, so a frame sent there is never answered.
# N is 1 for the peer (the other end of eth0's wire), 2 for the guest behind vnet0, 3 for vnet1, ...

# shellcheck source=tests/lab/common.sh
. "${BASH_SOURCE[0]%/*}/common.sh"

lab_state=/run/vmlat-lab
export lab_state

# ovs_vsctl ...: bounded, since it waits for ovs-vswitchd forever otherwise. A clock that counts instructions runs ahead
# while the disk is slow.
ovs_vsctl() {
	ovs-vsctl -t 300 "$@"
}

# peer COMMAND...: in the namespace of the machine at the other end of the wire
peer() {
	ip netns exec peer "$@"
}

# steer_to PORT MAC: what is for MAC, or for its sink, leaves by PORT; nothing is learned
steer_to() {
	local port=$1 mac=$2 sink=52:54:00:00:01:${2##*:}
	[ ! -e "$lab_state/learn" ] || return 0
	[[ $mac == 52:54:00:00:00:* ]] || sink=''
	printf "priority=10,dl_dst=%s,actions=output:$port\n" "$mac" ${sink:+"$sink"} | ovs-ofctl add-flows br0 -
}

# tap_add TAP MAC [multi_queue]: a tap as libvirt makes it, a port of br0, to which MAC's frames go
tap_add() {
	local tap=$1 mac=$2
	shift 2
	[ ! -e "/sys/class/net/$tap" ] || die "$tap exists already"
	ip -batch - <<-E
		tuntap add $tap mode tap vnet_hdr $*
		link set $tap up
	E
	ovs_vsctl add-port br0 "$tap"
	steer_to "$tap" "$mac"
}

# tap_del TAP: with its rules
tap_del() {
	local tap=$1
	[ -e "$lab_state/learn" ] || ovs-ofctl del-flows br0 "out_port=$tap"
	ovs_vsctl --if-exists del-port br0 "$tap"
	[ ! -e "/sys/class/net/$tap" ] || ip link del "$tap"
}

# flow_dump: the kernel datapath's flows, one a line
flow_dump() {
	ovs-appctl -T 10 dpctl/dump-flows -m --names
}

flow_in_table() {
	flow_dump | grep -E -- "$1"
}

flow_table_empty() {
	! flow_dump | grep -q .
}

# flow_warm PATTERN: wait until a flow that matches (grep -E, on a line of flow_dump) is in the datapath's table, so
# that the next packet of it needs no upcall
flow_warm() {
	wait_for 20 "a datapath flow matching '$1'" flow_in_table "$1"
}

flow_table_purged() {
	ovs-appctl -T 10 revalidator/purge && flow_table_empty
}

# flow_flush: empty the datapath's table, so that the next packet of any flow needs an upcall. By the revalidators: after
# dpctl/del-flows ovs-vswitchd still believes that its flows are installed, and for some seconds does not do it again. Again
# and again: it may be at earlier upcalls still.
flow_flush() {
	wait_for 20 "the datapath's table to be empty" flow_table_purged
}

# link_packets IFNAME rx|tx: the interface's own counter
link_packets() {
	cat "/sys/class/net/$1/statistics/$2_packets"
}

declare -A count_pids
count_json=''
export count_json

# count_start WHERE ARGUMENT...: 'traffic count' in the background, at eth1 of the peer (WHERE is peer) or at eth0 of a
# guest (WHERE is its name); returns when it is counting. One at a time at each place.
count_start() {
	local where=$1 state=$lab_state/count.$1
	shift
	rm -f "$state".*
	if [ "$where" = peer ]; then
		peer "$build/traffic" count --interface eth1 "$@" >"$state.out" 2>"$state.err" </dev/null &
	else
		"$lab/guest" exec "$where" traffic count --interface eth0 "$@" >"$state.out" 2>"$state.err" </dev/null &
	fi
	count_pids[$where]=$!
	wait_for 20 "traffic count at $where to be ready" grep -q ready "$state.err" || { cat "$state.err" >&2; return 1; }
}

# count_end WHERE: wait for it; count_json is its JSON object, its exit status is ours. Not in a subshell.
count_end() {
	local status=0
	wait "${count_pids[$1]}" || status=$?
	count_json=$(<"$lab_state/count.$1.out")
	return $status
}
