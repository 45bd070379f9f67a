# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=bash
#
# The demonstration's network: client, director and two real servers, each in a namespace of its
# own and all on one wire. A virtual address for each forwarding method is the director's; the real
# servers have them too, but keep silent about it, for tunnels and direct routing.
#
#   client 10.0.1.2 ---+--- director 10.0.1.1, 10.0.2.1 and the virtual 10.0.1.101, .102, .103
#                      +--- server1 10.0.2.11
#                      +--- server2 10.0.2.12

here=$(dirname "$(realpath "${BASH_SOURCE[0]}")")
nat=10.0.1.101 tunnel=10.0.1.102 direct=10.0.1.103

in_ns() {
	ip netns exec "$@"
}

# attach NAME: a namespace of that name, with eth0 on the wire.
attach() {
	ip netns add "$1"
	ip -n wire link add "$1" type veth peer name eth0 netns "$1"
	ip -n wire link set "$1" master wire up
	ip -n "$1" link set lo up
	ip -n "$1" link set eth0 up
	in_ns "$1" sysctl -qw net.ipv4.conf.{all,default,eth0}.rp_filter=0 \
		net.ipv4.conf.{all,default,eth0}.send_redirects=0
}

# real_server NAME ADDRESS: it takes what comes for the virtual address, bare or in a tunnel.
real_server() {
	local vip
	attach "$1"
	in_ns "$1" sysctl -qw net.ipv4.conf.all.arp_ignore=1 net.ipv4.conf.all.arp_announce=2 \
		net.ipv4.conf.tunl0.rp_filter=0
	ip -n "$1" addr add "$2/24" dev eth0
	for vip in $tunnel $direct; do
		ip -n "$1" addr add "$vip/32" dev lo
	done
	ip -n "$1" link set tunl0 up
	ip -n "$1" route add default via 10.0.2.1
	read -r _ < <(in_ns "$1" "$here/server" "$1" "$2,$tunnel,$direct" 80 8080)
}

set_up() {
	local vip
	modprobe -a veth bridge ipip
	ip netns add wire
	ip -n wire link add wire type bridge
	ip -n wire link set wire up
	attach client
	ip -n client addr add 10.0.1.2/24 dev eth0
	ip -n client route add default via 10.0.1.1
	attach director
	ip -n director addr add 10.0.1.1/24 dev eth0
	ip -n director addr add 10.0.2.1/24 dev eth0
	for vip in $nat $tunnel $direct; do
		ip -n director addr add "$vip/32" dev eth0
	done
	in_ns director sysctl -qw net.ipv4.ip_forward=1
	real_server server1 10.0.2.11
	real_server server2 10.0.2.12
}

# services VIP METHOD: the two services of that address with that forwarding method (an option of
# ipvsadm). Only with NAT do replies pass the director; otherwise a server answers the client itself.
services() {
	local name port=80 route=replace
	if [[ $1 == "$nat" ]]; then
		port=8080
		route=delete
	fi
	for name in server1 server2; do
		ip -n "$name" route "$route" 10.0.1.0/24 dev eth0 2>/dev/null || true
	done
	in_ns director ipvsadm --restore <<-EOF
		-A -t $1:80 -s rr
		-a -t $1:80 -r 10.0.2.11:$port $2 -w 1
		-a -t $1:80 -r 10.0.2.12:$port $2 -w 1
		-A -u $1:80 -s wrr
		-a -u $1:80 -r 10.0.2.11:$port $2 -w 3
		-a -u $1:80 -r 10.0.2.12:$port $2 -w 1
	EOF
}
