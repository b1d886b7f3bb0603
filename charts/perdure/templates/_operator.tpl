{{/* The Lease by which one operator leads, and the Role for it. */}}
{{- define "perdure.leaseName" -}}
{{- include "perdure.fullname" . }}-operator
{{- end }}

{{/* The operator's container; root is the chart, host and port are where it finds the server. */}}
{{- define "perdure.operatorContainer" -}}
- name: operator
  image: {{ include "perdure.image" .root | quote }}
  imagePullPolicy: {{ .root.Values.image.pullPolicy }}
  command: [perdure-operator]
  args:
    - --server
    - {{ include "perdure.scheme" .root }}://{{ .host }}:{{ .port }}
    - --worker-server
    - {{ printf "%s://%s:%v" (include "perdure.scheme" .root) (include "perdure.serverHost" .root) .root.Values.service.port | quote }}
    {{- if .root.Values.tls.enabled }}
    - --tls-ca=/etc/perdure/ca/ca.crt
    - --tls-server-name={{ include "perdure.serverHost" .root }}
    {{- end }}
    {{- if eq .root.Values.auth.mode "kubernetes" }}
    - --token-file=/var/run/secrets/perdure.dev/token
    - --worker-audience=perdure
    {{- end }}
    {{- if .root.Values.namespaced }}
    - --namespace
    - {{ .root.Release.Namespace }}
    {{- end }}
    - --default-image
    - {{ include "perdure.workerImage" .root | quote }}
    - --show-after={{ .root.Values.activities.showAfter }}
    {{- if .root.Values.operator.leaderElection.enabled }}
    - --lease={{ .root.Release.Namespace }}/{{ include "perdure.leaseName" .root }}
    - --lease-duration={{ .root.Values.operator.leaderElection.leaseSeconds }}
    # A container that is started again in its pod need not wait for its own lease.
    - --identity=$(POD_NAME)
    {{- end }}
    {{- if not .root.Values.operator.events.enabled }}
    - --no-events
    {{- end }}
    {{- range .root.Values.operator.extraArgs }}
    - {{ . | quote }}
    {{- end }}
  env:
    - name: POD_NAME
      valueFrom:
        fieldRef:
          fieldPath: metadata.name
    {{- with .root.Values.operator.extraEnv }}
    {{- toYaml . | nindent 4 }}
    {{- end }}
  ports:
    - name: health
      containerPort: 8081
  startupProbe:
    httpGet:
      path: /healthz
      port: health
    periodSeconds: 1
    failureThreshold: 120
  livenessProbe:
    httpGet:
      path: /healthz
      port: health
    periodSeconds: 10
    timeoutSeconds: 5
    failureThreshold: 6
  securityContext:
    {{- toYaml .root.Values.securityContext | nindent 4 }}
  resources:
    {{- toYaml .root.Values.operator.resources | nindent 4 }}
  volumeMounts:
    - name: tmp-operator
      mountPath: /tmp
    - name: kube-api-access
      mountPath: /var/run/secrets/kubernetes.io/serviceaccount
      readOnly: true
    {{- if .root.Values.tls.enabled }}
    - name: tls-ca
      mountPath: /etc/perdure/ca
      readOnly: true
    {{- end }}
    {{- if eq .root.Values.auth.mode "kubernetes" }}
    - name: server-access
      mountPath: /var/run/secrets/perdure.dev
      readOnly: true
    {{- end }}
{{- end }}

{{/* The authority of the server's certificate; a pod waits until it is there. */}}
{{- define "perdure.authorityVolume" -}}
- name: tls-ca
  secret:
    secretName: {{ include "perdure.tlsSecret" . }}
    items:
      - key: ca.crt
        path: ca.crt
{{- end }}

{{/* What the operator's container mounts. */}}
{{- define "perdure.operatorVolumes" -}}
{{- if eq .Values.auth.mode "kubernetes" }}
- name: server-access
  projected:
    sources:
      - serviceAccountToken:
          path: token
          audience: perdure
          expirationSeconds: 3600
{{- end }}
- name: tmp-operator
  emptyDir: {}
- name: kube-api-access
  projected:
    sources:
      - serviceAccountToken:
          path: token
          expirationSeconds: 3607
      - configMap:
          name: kube-root-ca.crt
          items:
            - key: ca.crt
              path: ca.crt
      - downwardAPI:
          items:
            - path: namespace
              fieldRef:
                fieldPath: metadata.namespace
{{- end }}
