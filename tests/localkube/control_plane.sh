# shellcheck shell=bash
# Certificates, etcd, API server, controllers, scheduler.

SERVICES=10.96.0.0/16; API_SERVICE_IP=10.96.0.1; DNS_IP=10.96.0.10; PODS=10.88.0.0/16; NODE_IP=10.88.0.1

# Without a node there is no bridge: the API server then listens on loopback only.
api_ip() { if [ "$NODE" = yes ]; then echo $NODE_IP; else echo 127.0.0.1; fi; }

choose_ports() {
  python3 > ports.sh - <<'P'
import socket
names = ("ETCD", "ETCD_PEER", "API", "KUBELET", "PROXY_HEALTH", "PROXY_METRICS")
sockets = [socket.create_server(("127.0.0.1", 0)) for _ in names]
for name, bound in zip(names, sockets):
    print(f"{name}_PORT={bound.getsockname()[1]}")
P
  source ./ports.sh
}

make_certificates() {
  mkdir -p pki
  new_key ca; openssl req -x509 -new -key pki/ca.key -out pki/ca.crt -days 365 -subj /CN=localkube
  new_key sa; openssl ec -in pki/sa.key -pubout -out pki/sa.pub 2>/dev/null
  certify apiserver /CN=kube-apiserver "DNS:localhost,DNS:kubernetes,DNS:kubernetes.default,DNS:kubernetes.default.svc,DNS:kubernetes.default.svc.cluster.local,IP:127.0.0.1,IP:$API_SERVICE_IP,IP:$NODE_IP"
  certify admin /O=system:masters/CN=admin DNS:admin
  certify controller-manager /CN=system:kube-controller-manager DNS:controller-manager
  certify scheduler /CN=system:kube-scheduler DNS:scheduler
  certify node /O=system:nodes/CN=system:node:node1 "DNS:node1,IP:127.0.0.1,IP:$NODE_IP"
  certify proxy /CN=system:kube-proxy DNS:proxy
  for user in admin controller-manager scheduler node proxy; do write_kubeconfig $user; done
}

new_key() { openssl ecparam -name prime256v1 -genkey -noout -out "pki/$1.key"; }

certify() { # name subject alternative-names
  new_key "$1"
  openssl req -new -key "pki/$1.key" -subj "$2" | openssl x509 -req -CA pki/ca.crt -CAkey pki/ca.key -CAcreateserial -days 365 \
    -extfile <(printf 'subjectAltName=%s\nextendedKeyUsage=serverAuth,clientAuth\n' "$3") -out "pki/$1.crt" 2>/dev/null
}

write_kubeconfig() { # user; complete in itself, so that a copy of it works as well
  cat > "$1.kubeconfig" <<K
apiVersion: v1
kind: Config
clusters: [{name: localkube, cluster: {server: "https://$(api_ip):$API_PORT", certificate-authority-data: "$(base64 -w0 pki/ca.crt)"}}]
users: [{name: $1, user: {client-certificate-data: "$(base64 -w0 "pki/$1.crt")", client-key-data: "$(base64 -w0 "pki/$1.key")"}}]
contexts: [{name: localkube, context: {cluster: localkube, user: $1}}]
current-context: localkube
K
  chmod 600 "$1.kubeconfig"
}

start() { # name command...
  local name=$1; shift
  setsid "$@" > "logs/$name.log" 2>&1 < /dev/null 9>&- & echo $! > "$name.pid"
}

wait_for() { # description command...
  local what=$1; shift
  for _ in $(seq 300); do
    "$@" >/dev/null 2>&1 && return
    die_with_the_dead
    sleep .2
  done
  die "$what did not come up within a minute; see $R/logs"
}

die_with_the_dead() { # of what was started, something has ended: waiting longer is useless
  local file name
  for file in ./*.pid; do
    name=$(basename "$file" .pid)
    is_ours "$(cat "$file")" || die "$name ended; the end of $R/logs/$name.log: $(tail -n 3 "logs/$name.log")"
  done
}

k() { "$(folder_of kube)/kubectl" --kubeconfig "$R/admin.kubeconfig" "$@"; }

start_apiserver() {
  local bin node_flags=(--endpoint-reconciler-type none)
  bin=$(folder_of kube)
  [ "$NODE" = no ] || node_flags=(--advertise-address "$NODE_IP" --endpoint-reconciler-type lease --allow-privileged=true
    --kubelet-client-certificate pki/admin.crt --kubelet-client-key pki/admin.key --kubelet-certificate-authority pki/ca.crt
    --kubelet-preferred-address-types InternalIP)
  start apiserver "$bin/kube-apiserver" --etcd-servers "http://127.0.0.1:$ETCD_PORT" --bind-address "$(api_ip)" --secure-port "$API_PORT" \
    --service-cluster-ip-range $SERVICES --tls-cert-file pki/apiserver.crt --tls-private-key-file pki/apiserver.key --client-ca-file pki/ca.crt \
    --service-account-key-file pki/sa.pub --service-account-signing-key-file pki/sa.key \
    --feature-gates MutatingAdmissionPolicy=true --runtime-config admissionregistration.k8s.io/v1beta1=true \
    --service-account-issuer https://kubernetes.default.svc.cluster.local --authorization-mode Node,RBAC "${node_flags[@]}"
  wait_for "the API server" k get --raw /readyz
}

kill_apiserver() {
  is_running || die "no cluster is up"
  cd "$R"
  kill_part apiserver KILL; await_end apiserver
}

start_apiserver_again() {
  [ -f "$R/ports.sh" ] || die "no cluster is up"
  cd "$R"; source ./ports.sh
  start_apiserver
}

start_control_plane() {
  local bin; bin=$(folder_of kube)
  # Whatever is stored is thrown away with the cluster, so nothing need survive a power cut.
  start etcd "$bin/etcd" --data-dir "$R/etcd" --unsafe-no-fsync --log-level warn \
    --listen-client-urls "http://127.0.0.1:$ETCD_PORT" --advertise-client-urls "http://127.0.0.1:$ETCD_PORT" \
    --listen-peer-urls "http://127.0.0.1:$ETCD_PEER_PORT" --initial-advertise-peer-urls "http://127.0.0.1:$ETCD_PEER_PORT" \
    --initial-cluster "default=http://127.0.0.1:$ETCD_PEER_PORT"
  start_apiserver
  start controller-manager "$bin/kube-controller-manager" --kubeconfig controller-manager.kubeconfig --secure-port 0 --leader-elect=false \
    --service-account-private-key-file pki/sa.key --root-ca-file pki/ca.crt --use-service-account-credentials --service-cluster-ip-range $SERVICES
  [ "$NODE" = no ] || start scheduler "$bin/kube-scheduler" --kubeconfig scheduler.kubeconfig --secure-port 0 --leader-elect=false
}
