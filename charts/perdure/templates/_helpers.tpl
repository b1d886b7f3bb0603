{{/* The chart's name, or what replaces it. */}}
{{- define "perdure.name" -}}
{{- default .Chart.Name .Values.nameOverride | trunc 52 | trimSuffix "-" }}
{{- end }}

{{/* What the names of all objects begin with: the release's name says enough if it has the chart's in it. */}}
{{- define "perdure.fullname" -}}
{{- if .Values.fullnameOverride }}
{{- .Values.fullnameOverride | trunc 52 | trimSuffix "-" }}
{{- else if contains (include "perdure.name" .) .Release.Name }}
{{- .Release.Name | trunc 52 | trimSuffix "-" }}
{{- else }}
{{- printf "%s-%s" .Release.Name (include "perdure.name" .) | trunc 52 | trimSuffix "-" }}
{{- end }}
{{- end }}

{{/* The Service that workers and clients connect to. */}}
{{- define "perdure.serverName" -}}
{{- include "perdure.fullname" . }}-server
{{- end }}

{{/* Names of cluster-wide objects, which releases of several namespaces must not share. */}}
{{- define "perdure.clusterName" -}}
{{- printf "%s-%s" .Release.Namespace (include "perdure.fullname" .) }}
{{- end }}

{{- define "perdure.serviceAccountName" -}}
{{- if .Values.serviceAccount.create }}
{{- default (include "perdure.fullname" .) .Values.serviceAccount.name }}
{{- else }}
{{- required "serviceAccount.name is needed when serviceAccount.create is false" .Values.serviceAccount.name }}
{{- end }}
{{- end }}

{{- define "perdure.claimName" -}}
{{- default (include "perdure.fullname" .) .Values.persistence.existingClaim }}
{{- end }}

{{- define "perdure.image" -}}
{{- printf "%s:%s" .Values.image.repository (default .Chart.AppVersion .Values.image.tag) }}
{{- end }}

{{- define "perdure.workerImage" -}}
{{- printf "%s:%s" .Values.workerImage.repository (default .Chart.AppVersion .Values.workerImage.tag) }}
{{- end }}

{{- define "perdure.selectorLabels" -}}
app.kubernetes.io/name: {{ include "perdure.name" . }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}

{{- define "perdure.labels" -}}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" }}
{{ include "perdure.selectorLabels" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/part-of: perdure
app.kubernetes.io/managed-by: {{ .Release.Service }}
{{- end }}

{{/* The server's name in the cluster, by which clients know its certificate. */}}
{{- define "perdure.serverHost" -}}
{{- printf "%s.%s.svc" (include "perdure.serverName" .) .Release.Namespace }}
{{- end }}

{{- define "perdure.scheme" -}}
{{- ternary "https" "http" .Values.tls.enabled }}
{{- end }}

{{/* Not empty where the server makes its certificate itself. */}}
{{- define "perdure.selfMade" -}}
{{- if and .Values.tls.enabled (not .Values.tls.existingSecret) (not .Values.tls.certManager.enabled) }}yes{{ end }}
{{- end }}

{{/* The names by which the server is reached, one a line. */}}
{{- define "perdure.serverNames" -}}
{{ include "perdure.serverHost" . }}
{{ printf "%s.%s" (include "perdure.serverName" .) .Release.Namespace }}
{{ include "perdure.serverName" . }}
{{ printf "%s.cluster.local" (include "perdure.serverHost" .) }}
localhost
{{- end }}

{{- define "perdure.tlsSecret" -}}
{{- if include "perdure.selfMade" . }}
{{- include "perdure.serverName" . }}-certificate
{{- else }}
{{- default (printf "%s-tls" (include "perdure.serverName" .)) .Values.tls.existingSecret }}
{{- end }}
{{- end }}

{{/* Who may run workers; values of an older chart, used again, say it by whether they name namespaces. */}}
{{- define "perdure.authWorkers" -}}
{{- $named := not (empty .Values.auth.workerNamespaces) }}
{{- $workers := default (ternary "Granted" "OwnNamespace" $named) .Values.auth.workers }}
{{- if and $named (ne $workers "Granted") }}
{{- fail "auth.workerNamespaces restricts workers to these namespaces with auth.workers=Granted only: set that, or leave the namespaces out" }}
{{- end }}
{{- $workers }}
{{- end }}
