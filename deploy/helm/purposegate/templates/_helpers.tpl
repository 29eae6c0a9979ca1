{{- define "purposegate.fullname" -}}
{{- if contains .Chart.Name .Release.Name -}}
{{- .Release.Name | trunc 50 | trimSuffix "-" -}}
{{- else -}}
{{- printf "%s-%s" .Release.Name .Chart.Name | trunc 50 | trimSuffix "-" -}}
{{- end -}}
{{- end -}}

{{- define "purposegate.selector" -}}
app.kubernetes.io/name: {{ .Chart.Name }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end -}}

{{- define "purposegate.labels" -}}
{{ include "purposegate.selector" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version }}
{{- end -}}

{{- define "purposegate.image" -}}
{{ .Values.image.repository }}:{{ .Values.image.tag | default .Chart.AppVersion }}
{{- end -}}

{{- define "purposegate.serviceAccount" -}}
{{ .Values.serviceAccount.name | default (include "purposegate.fullname" .) }}
{{- end -}}

{{- define "purposegate.hasRoutes" -}}
{{- if or .Values.routes .Values.existingRoutesConfigMap -}}true{{- end -}}
{{- end -}}

{{- /* Values that no schema can judge. */ -}}
{{- define "purposegate.validate" -}}
{{- if and (gt (int .Values.replicas) 1) (not .Values.ledger.url) -}}
{{- fail "replicas: several gateways need a ledger in PostgreSQL (ledger.url)" -}}
{{- end -}}
{{- if and .Values.admin.exposed (not .Values.admin.tls.secretName) -}}
{{- fail "admin.tls.secretName: an exposed admin API needs TLS" -}}
{{- end -}}
{{- if and .Values.admin.exposed (not .Values.admin.tokens) (not .Values.admin.certificates) -}}
{{- fail "admin.tokens: an exposed admin API needs tokens or certificates" -}}
{{- end -}}
{{- end -}}
