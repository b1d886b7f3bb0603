// What KEDA's metrics-api scaler makes of a trigger: keda-scaler CA_DIR < {"metadata": {…}, "authParams": {…}}
//
// CA_DIR is what KEDA's operator has as --ca-dir: the authorities that it trusts besides the system's.
// The scaler is built and asked as KEDA's operator does at each polling interval. It prints what the
// HorizontalPodAutoscaler is told ({"value", "target"}, in thousandths) and whether the object is
// active, which is what KEDA scales from and to zero by.
package main

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"time"

	"github.com/kedacore/keda/v2/pkg/scalers"
	"github.com/kedacore/keda/v2/pkg/scalers/scalersconfig"
	"github.com/kedacore/keda/v2/pkg/util"
)

func main() {
	var trigger struct {
		Metadata   map[string]string `json:"metadata"`
		AuthParams map[string]string `json:"authParams"`
	}
	check(json.NewDecoder(os.Stdin).Decode(&trigger))
	util.SetCACertDirs([]string{os.Args[1]})
	scaler := must(scalers.NewMetricsAPIScaler(&scalersconfig.ScalerConfig{
		ScalableObjectType: "ScaledObject",
		GlobalHTTPTimeout:  3 * time.Second,
		TriggerType:        "metrics-api",
		TriggerMetadata:    trigger.Metadata,
		AuthParams:         trigger.AuthParams,
	}, nil))

	ctx := context.Background()
	metric := scaler.GetMetricSpecForScaling(ctx)[0].External
	values, active, err := scaler.GetMetricsAndActivity(ctx, metric.Metric.Name)
	check(err)
	check(json.NewEncoder(os.Stdout).Encode(map[string]any{
		"name":   metric.Metric.Name,
		"value":  values[0].Value.MilliValue(),
		"target": metric.Target.AverageValue.MilliValue(),
		"active": active,
	}))
}

func must[T any](value T, err error) T {
	check(err)
	return value
}

func check(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}
