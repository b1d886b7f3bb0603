# shellcheck shell=bash
# The cluster's binaries, compiled from their Go modules into $CACHE/bin/MODULE-KEY. The key is a checksum of the
# module's sources, so that a new version is compiled and an old one is not mistaken for it.

[ -x /usr/local/go/bin/go ] && PATH=$PATH:/usr/local/go/bin
KUBE_NAMES="etcd kube-apiserver kube-controller-manager kube-scheduler kubelet kube-proxy kubectl"

binary_of() { case "$1" in kube) echo hyperkube ;; *) echo "$1" ;; esac; }
folder_of() { echo "$CACHE/bin/$1-$(cat "$here/$1"/go.* "$here/$1"/*.go | cksum | cut -d' ' -f1)"; }

are_built() { # module...
  local module
  for module in "$@"; do [ -x "$(folder_of "$module")/$(binary_of "$module")" ] || return 1; done
}

build() { # [module...]
  local module
  [ $# -gt 0 ] || set -- kube coredns helm pause
  for module in "$@"; do
    [ -f "$here/$module/go.mod" ] || die "nothing is called '$module' here; there are kube, coredns, helm and pause"
    are_built "$module" || compile "$module"
  done
}

compile() { # module
  local folder binary; folder=$(folder_of "$1"); binary=$(binary_of "$1")
  command -v go >/dev/null || die "Go (1.21 or newer) is needed to compile $1: https://go.dev/dl"
  mkdir -p "$folder"
  (
    ! command -v flock >/dev/null || flock 9        # two test sessions may start at once
    ! are_built "$1" || exit 0
    say "compiling $1 (minutes when it is the first time on this machine)"
    cd "$here/$1" || exit
    CGO_ENABLED=0 go build -trimpath -ldflags="$(linker_flags "$1")" -o "$folder/$binary.partial" "$(package_of "$1")"
    [ "$1" != kube ] || for name in $KUBE_NAMES; do ln -sf hyperkube "$folder/$name"; done
    mv "$folder/$binary.partial" "$folder/$binary"
  ) 9> "$folder/lock"
}

package_of() { case "$1" in helm) echo helm.sh/helm/v3/cmd/helm ;; *) echo . ;; esac; }

linker_flags() { # module: what its release build stamps in, so that the cluster and helm know their own version
  local version minor package
  version=$(awk '$1 == "k8s.io/kubernetes" || $2 == "helm.sh/helm/v3" {print $NF}' "$here/$1/go.mod")
  minor=$(awk '$1 == "k8s.io/kubernetes" {print $2}' "$here/kube/go.mod" | cut -d. -f2)
  echo -n "-s -w"
  case "$1" in
    kube)
      for package in k8s.io/component-base/version k8s.io/client-go/pkg/version; do
        echo -n " -X $package.gitVersion=$version -X $package.gitMajor=1 -X $package.gitMinor=$minor"
      done ;;
    helm)
      echo -n " -X helm.sh/helm/v3/internal/version.version=$version"
      for package in helm.sh/helm/v3/pkg/chartutil helm.sh/helm/v3/pkg/lint/rules; do
        echo -n " -X $package.k8sVersionMajor=1 -X $package.k8sVersionMinor=$minor"
      done ;;
  esac
}

tool() { # helm|kubectl
  case "${1:-}" in
    helm) build helm; echo "$(folder_of helm)/helm" ;;
    kubectl) build kube; echo "$(folder_of kube)/kubectl" ;;
    *) die "no tool '${1:-}'; there are helm and kubectl" ;;
  esac
}
