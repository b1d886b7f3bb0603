# shellcheck shell=bash
# What the machine must have, by the Debian package that brings it.

# Commands (or files), each with its package.
CONTROL_PLANE_NEEDS="openssl:openssl python3:python3"
NODE_NEEDS="containerd:containerd ctr:containerd runc:runc /usr/lib/cni/bridge:containernetworking-plugins iptables:iptables ip:iproute2"
IMAGE_NEEDS="buildah:buildah debootstrap:debootstrap /usr/share/keyrings/debian-archive-keyring.gpg:debian-archive-keyring"

missing_packages() { # needs...
  local need
  for need in "$@"; do
    [ -e "${need%%:*}" ] || command -v "${need%%:*}" >/dev/null || echo "${need##*:}"
  done | sort -u
}

can_install() { [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; }

install_missing() { # needs...
  local packages; packages=$(missing_packages "$@" | xargs)
  [ -z "$packages" ] && return
  can_install || die "this machine lacks: $packages (Debian's package names). Install them, or run as root where apt-get is."
  say "installing $packages"
  apt-get update -qq >&2 || say "apt-get update failed; trying to install all the same"
  # shellcheck disable=SC2086  # a list of packages
  DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $packages >&2 || die "could not install: $packages"
}

cluster_needs() { # shellcheck disable=SC2086
  if [ "$NODE" = yes ]; then echo $CONTROL_PLANE_NEEDS $NODE_NEEDS; else echo $CONTROL_PLANE_NEEDS; fi
}

require_for_cluster() {
  check || exit 1
  # shellcheck disable=SC2046
  install_missing $(cluster_needs)
}

setup() {
  # shellcheck disable=SC2086
  install_missing $CONTROL_PLANE_NEEDS $NODE_NEEDS $IMAGE_NEEDS
}

# Every reason why no cluster can be had here, a line each; silent and 0 when there is none.
check() {
  local modules=kube reasons=() packages
  [ "$NODE" = no ] || modules="kube coredns pause"
  [ "$(uname -s)" = Linux ] || reasons+=("a local cluster needs Linux; this is $(uname -s)")
  [ "$NODE" = no ] || [ "$(id -u)" = 0 ] || reasons+=("a local cluster that runs pods needs root")
  # shellcheck disable=SC2086
  are_built $modules || command -v go >/dev/null || reasons+=("Go (1.21 or newer) is needed to compile the cluster: https://go.dev/dl")
  # shellcheck disable=SC2046
  packages=$(missing_packages $(cluster_needs) | xargs)
  [ -z "$packages" ] || can_install || reasons+=("missing packages (Debian's names): $packages")
  [ ${#reasons[@]} -eq 0 ] && return
  printf '%s\n' "${reasons[@]}" >&2
  return 1
}

# Two nodes would share the bridge, the Service range and the iptables chains.
require_sole_node() {
  ip link show kube0 >/dev/null 2>&1 && die "the bridge kube0 exists: another local cluster is up (its own 'localkube down' removes it)"
  if iptables -w -t nat -S 2>/dev/null | grep -q -- '-N KUBE-SERVICES'; then
    die "this machine has the iptables rules of another Kubernetes node; name its context in PERDURE_TEST_CONTEXT instead"
  fi
}
