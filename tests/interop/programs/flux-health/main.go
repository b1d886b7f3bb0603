// Says what Flux makes of objects: flux-health KUSTOMIZATION_YAML < OBJECTS_JSON
//
// The health expressions are read as kustomize-controller reads them, and evaluated by the same
// package; kstatus says what it would be without them. It reads a JSON list of objects and prints
// one of {"expressions", "kstatus", "message"}.
package main

import (
	"context"
	"encoding/json"
	"os"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/yaml"

	"github.com/fluxcd/cli-utils/pkg/kstatus/status"
	kustomizev1 "github.com/fluxcd/kustomize-controller/api/v1"
	"github.com/fluxcd/pkg/runtime/cel"
)

type answer struct {
	Expressions string `json:"expressions"`
	Kstatus     string `json:"kstatus"`
	Message     string `json:"message"`
}

func main() {
	var kustomization kustomizev1.Kustomization
	check(yaml.UnmarshalStrict(must(os.ReadFile(os.Args[1])), &kustomization))
	evaluators := map[string]*cel.StatusEvaluator{}
	for _, each := range kustomization.Spec.HealthCheckExprs {
		evaluators[each.APIVersion+each.Kind] = must(cel.NewStatusEvaluator(&each.HealthCheckExpressions))
	}

	var objects []json.RawMessage
	check(json.NewDecoder(os.Stdin).Decode(&objects))
	answers := []answer{}
	for _, text := range objects {
		// As from the API server: whole numbers are int64 and no floats.
		object := &unstructured.Unstructured{}
		check(object.UnmarshalJSON(text))
		plain := must(status.Compute(object))
		says := answer{Kstatus: plain.Status.String(), Message: plain.Message}
		if evaluator, ok := evaluators[object.GetAPIVersion()+object.GetKind()]; ok {
			// An error of an expression is no verdict: kustomize-controller asks again until its timeout.
			if result, err := evaluator.Evaluate(context.Background(), object); err != nil {
				says.Expressions, says.Message = "Error", err.Error()
			} else {
				says.Expressions = result.Status.String()
			}
		}
		answers = append(answers, says)
	}
	check(json.NewEncoder(os.Stdout).Encode(answers))
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
