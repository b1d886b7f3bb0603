# shellcheck shell=bash
# `down` leaves no process, mount, interface, route, iptables rule or cgroup behind, whatever state it finds. Only the
# node's image store and the logs stay. It is also run before each start, to clear what a crash left.

PARTS="kubelet kube-proxy coredns scheduler controller-manager apiserver etcd"

is_running() { is_ours "$(cat "$R/apiserver.pid" 2>/dev/null)"; }

# A pid file may outlive its process, and the number be given to a stranger.
is_ours() { [ -n "$1" ] && [ "$(readlink "/proc/$1/cwd" 2>/dev/null)" = "$R" ]; }

down() (                                        # a subshell, in which one failure does not keep the rest from being done
  set +e
  cd "$R" 2>/dev/null || return 0
  # What they store is deleted below, so there is nothing that a gentler stop would save.
  for name in $PARTS; do kill_part "$name" KILL; done
  if [ "$NODE" = yes ]; then remove_containers; kill_part containerd TERM; fi
  await_end $PARTS containerd
  if [ "$NODE" = yes ]; then remove_node; fi
  rm -rf etcd kubelet pki volumes addresses cni pod-logs volume-plugins containerd-run ./*.pid ./*.kubeconfig ports.sh sysctls \
    containerd.sock*
)

kill_part() { # name signal
  local pid; pid=$(cat "$1.pid" 2>/dev/null) || return 0
  is_ours "$pid" && kill "-$2" "$pid" 2>/dev/null || rm -f "$1.pid"
}

await_end() { # name...
  local name
  for name in "$@"; do
    for _ in $(seq 100); do is_ours "$(cat "$name.pid" 2>/dev/null)" || continue 2; sleep .1; done
    kill_part "$name" KILL
  done
}

remove_containers() {
  [ -S "$SOCK" ] && ctr -a "$SOCK" version >/dev/null 2>&1 || return 0
  ctr -a "$SOCK" -n k8s.io tasks ls -q | xargs -r -P4 -n1 ctr -a "$SOCK" -n k8s.io tasks rm -f >/dev/null 2>&1 || true
  ctr -a "$SOCK" -n k8s.io containers ls -q | xargs -r -n20 ctr -a "$SOCK" -n k8s.io containers rm >/dev/null 2>&1 || true
}

remove_node() {
  local pid
  for pid in $(processes_of_containerd); do kill -9 "$pid" 2>/dev/null || true; done
  awk -v r="$R/" 'index($2, r) == 1 {print $2}' /proc/mounts | sort -r | xargs -r -n1 umount -l
  # Deleting below a bind mount would delete what it shows.
  ! grep -q " $R/" /proc/mounts || die "cannot unmount all below $R; see /proc/mounts"
  remove_interfaces
  remove_rules
  find /sys/fs/cgroup -depth -type d -path '*/kubepods*' -exec rmdir {} + 2>/dev/null || true
  find /var/log/containers -lname "$R/*" -delete 2>/dev/null || true
  grep -rlsF "$R/" /var/lib/cni/results | xargs -r rm -f
  [ ! -f sysctls ] || while read -r name value; do echo "$value" > "/proc/sys/$name" || true; done < sysctls
}

# The shims, and what they still run when containerd could not be asked: a shim names our socket in its command line,
# and its containers are its children.
processes_of_containerd() {
  local file pid
  for file in /proc/[0-9]*/cmdline; do
    pid=${file#/proc/}; pid=${pid%/cmdline}
    if tr '\0' ' ' 2>/dev/null < "$file" | grep -q "^[^ ]*containerd-shim[^ ]* .*$SOCK"; then
      cat "/proc/$pid/task/"*/children 2>/dev/null
      echo "$pid"
    fi
  done
}

remove_interfaces() {
  command -v ip >/dev/null && ip link show kube0 >/dev/null 2>&1 || return 0
  ip -o link show master kube0 | awk -F'[ @:]+' '{print $2}' | xargs -r -n1 ip link delete 2>/dev/null || true   # some go by themselves
  ip link delete kube0
}

remove_rules() {
  local family table rules
  for family in iptables ip6tables; do
    command -v "$family-save" >/dev/null || continue
    for table in nat filter mangle; do
      rules=$("$family-save" -c -t "$table" 2>/dev/null) || continue
      ! grep -q KUBE- <<< "$rules" || grep -v KUBE- <<< "$rules" | "$family-restore" -c -w -T "$table"
    done
  done
}
