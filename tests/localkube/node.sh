# shellcheck shell=bash
# The node: bridge, containerd, kubelet, kube-proxy, CoreDNS, volumes.

TUNED_BY_NODE="net/ipv4/ip_forward net/ipv4/conf/all/route_localnet vm/overcommit_memory vm/panic_on_oom kernel/panic kernel/panic_on_oops kernel/keys/root_maxkeys kernel/keys/root_maxbytes"

start_network() {
  for name in $TUNED_BY_NODE; do
    [ ! -r "/proc/sys/$name" ] || echo "$name $(cat "/proc/sys/$name")"
  done > sysctls                              # `down` puts these back
  ip link add kube0 type bridge; ip addr add $NODE_IP/16 dev kube0; ip link set kube0 up
  ip route replace $SERVICES dev kube0        # a Service address that nothing translates dies here, not on the network
  echo 1 > /proc/sys/net/ipv4/ip_forward
}

start_node() {
  start_containerd
  start_kubelet
  start_proxy
  start_dns
  make_volumes
  wait_for "the node" node_is_ready
}

node_is_ready() { [ "$(k get node node1 -o 'jsonpath={.status.conditions[?(@.type=="Ready")].status}' 2>/dev/null)" = True ]; }

start_containerd() {
  mkdir -p cni
  cat > cni/10-bridge.conflist <<K
{"cniVersion": "0.4.0", "name": "localkube", "plugins": [
  {"type": "bridge", "bridge": "kube0", "isGateway": true, "hairpinMode": true,
   "ipam": {"type": "host-local", "dataDir": "$R/addresses", "ranges": [[{"subnet": "$PODS"}]], "routes": [{"dst": "0.0.0.0/0"}]}}]}
K
  # Network namespaces are kept below the state folder, so that `down` finds all mounts in one place.
  # restrict_oom_score_adj: a machine without CAP_SYS_RESOURCE cannot start a sandbox otherwise.
  cat > containerd.toml <<K
version = 2
root = "$R/containerd"
state = "$R/containerd-run"
[grpc]
address = "$SOCK"
[plugins."io.containerd.grpc.v1.cri"]
sandbox_image = "localhost/pause:1"
restrict_oom_score_adj = true
netns_mounts_under_state_dir = true
[plugins."io.containerd.grpc.v1.cri".cni]
bin_dir = "/usr/lib/cni"
conf_dir = "$R/cni"
K
  start containerd containerd -c containerd.toml
  wait_for containerd ctr -a "$SOCK" version
  python3 "$here/mkimage.py" "$(folder_of pause)/pause" pause.tar localhost/pause:1
  load pause.tar
}

start_kubelet() {
  cat > kubelet.yaml <<K
apiVersion: kubelet.config.k8s.io/v1beta1
kind: KubeletConfiguration
address: $NODE_IP
port: $KUBELET_PORT
healthzPort: 0
containerRuntimeEndpoint: unix://$SOCK
cgroupDriver: cgroupfs
failCgroupV1: false
failSwapOn: false
enforceNodeAllocatable: []
authentication: {x509: {clientCAFile: $R/pki/ca.crt}, anonymous: {enabled: false}, webhook: {enabled: false}}
authorization: {mode: AlwaysAllow}
tlsCertFile: $R/pki/node.crt
tlsPrivateKeyFile: $R/pki/node.key
clusterDNS: [$DNS_IP]
clusterDomain: cluster.local
resolvConf: ""
podCIDR: $PODS
podLogsDir: $R/pod-logs
volumePluginDir: $R/volume-plugins
maxPods: 500
evictionHard: {nodefs.available: "1%", imagefs.available: "1%"}
imageGCHighThresholdPercent: 100
serializeImagePulls: false
kubeAPIQPS: 500
kubeAPIBurst: 500
K
  # Pods' mounts must be seen by containers. The kubelet sees to that by mounting its folder on itself, but then a socket
  # that it makes at the same moment may fall between the two; so do it first.
  mkdir -p kubelet; mount --bind kubelet kubelet; mount --make-rshared kubelet
  start kubelet "$(folder_of kube)/kubelet" --config kubelet.yaml --kubeconfig node.kubeconfig --hostname-override node1 \
    --root-dir "$R/kubelet" --node-ip $NODE_IP
}

start_proxy() {
  # masqueradeAll: pods share one bridge, so an answer would otherwise take the short way back, past the translation.
  cat > proxy.yaml <<K
apiVersion: kubeproxy.config.k8s.io/v1alpha1
kind: KubeProxyConfiguration
mode: iptables
iptables: {masqueradeAll: true}
clientConnection: {kubeconfig: $R/proxy.kubeconfig}
clusterCIDR: $PODS
hostnameOverride: node1
healthzBindAddress: 127.0.0.1:$PROXY_HEALTH_PORT
metricsBindAddress: 127.0.0.1:$PROXY_METRICS_PORT
conntrack: {maxPerCore: 0, tcpEstablishedTimeout: 0s, tcpCloseWaitTimeout: 0s}   # 0: leave the machine's own
K
  start kube-proxy "$(folder_of kube)/kube-proxy" --config proxy.yaml
  k create clusterrolebinding localkube-proxy --clusterrole system:node-proxier --user system:kube-proxy >/dev/null
}

start_dns() {
  printf '.:53 {\n  errors\n  bind %s\n  kubernetes cluster.local {\n    kubeconfig %s\n  }\n  cache 5\n}\n' $NODE_IP "$R/admin.kubeconfig" > Corefile
  start coredns "$(folder_of coredns)/coredns" -conf Corefile
  k apply -f - >/dev/null <<K
apiVersion: v1
kind: Service
metadata: {name: kube-dns, namespace: kube-system}
spec: {clusterIP: $DNS_IP, ports: [{name: dns, port: 53, protocol: UDP}, {name: dns-tcp, port: 53, protocol: TCP}]}
---
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: {name: kube-dns-node, namespace: kube-system, labels: {kubernetes.io/service-name: kube-dns}}
addressType: IPv4
ports: [{name: dns, port: 53, protocol: UDP}, {name: dns-tcp, port: 53, protocol: TCP}]
endpoints: [{addresses: [$NODE_IP]}]
K
}

# There is no dynamic provisioner: ready-made volumes of the default class stand in for one. They are of the kind
# "local", not hostPath, because only then does the kubelet honour a pod's fsGroup.
make_volumes() {
  local number
  {
    printf '{apiVersion: storage.k8s.io/v1, kind: StorageClass, metadata: {name: local, annotations: {storageclass.kubernetes.io/is-default-class: "true"}}, provisioner: kubernetes.io/no-provisioner, volumeBindingMode: WaitForFirstConsumer}\n'
    for number in $(seq 30); do
      mkdir -p "$R/volumes/$number"
      printf -- '---\n{apiVersion: v1, kind: PersistentVolume, metadata: {name: local-%s}, spec: {capacity: {storage: 10Gi}, accessModes: [ReadWriteOnce], storageClassName: local, persistentVolumeReclaimPolicy: Retain, local: {path: "%s"}, nodeAffinity: {required: {nodeSelectorTerms: [{matchExpressions: [{key: kubernetes.io/hostname, operator: In, values: [node1]}]}]}}}}\n' "$number" "$R/volumes/$number"
    done
  } | k apply -f - >/dev/null
}
