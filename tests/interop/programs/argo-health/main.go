// Says what Argo CD makes of objects: argo-health ARGOCD_CM_YAML < OBJECTS_JSON
//
// The configuration goes through Argo CD's own settings manager, the objects through its own health
// function with its own Lua, so nothing of what is judged is rebuilt here. It reads a JSON list of
// objects and prints one of {"status", "message"}.
package main

import (
	"context"
	"encoding/json"
	"os"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/client-go/kubernetes/fake"
	"sigs.k8s.io/yaml"

	healthutil "github.com/argoproj/argo-cd/gitops-engine/pkg/health"
	"github.com/argoproj/argo-cd/v3/util/lua"
	"github.com/argoproj/argo-cd/v3/util/settings"
)

func main() {
	overrides := lua.ResourceHealthOverrides(must(manager(os.Args[1]).GetResourceOverrides()))

	var objects []map[string]any
	check(json.NewDecoder(os.Stdin).Decode(&objects))
	answers := []*healthutil.HealthStatus{}
	for _, object := range objects {
		answers = append(answers, must(healthutil.GetResourceHealth(&unstructured.Unstructured{Object: object}, overrides)))
	}
	check(json.NewEncoder(os.Stdout).Encode(answers))
}

// manager returns the settings as Argo CD reads them from its two objects, here held by a fake API.
func manager(path string) *settings.SettingsManager {
	var config corev1.ConfigMap
	check(yaml.UnmarshalStrict(must(os.ReadFile(path)), &config))
	secret := corev1.Secret{ObjectMeta: metav1.ObjectMeta{
		Name: "argocd-secret", Namespace: config.Namespace,
		Labels: map[string]string{"app.kubernetes.io/part-of": "argocd"},
	}}
	return settings.NewSettingsManager(context.Background(), fake.NewSimpleClientset(&config, &secret), config.Namespace)
}

func must[T any](value T, err error) T {
	check(err)
	return value
}

func check(err error) {
	if err != nil {
		panic(err)
	}
}
