{{- /* The configuration. JSON's texts and lists of texts are TOML's as well. */ -}}
{{- define "purposegate.configuration" -}}
policy = {{ toJson .Values.policy }}
{{- if include "purposegate.hasRoutes" . }}
include = ["/etc/purposegate/routes/*.toml"]
{{- end }}
drain = "{{ .Values.drainSeconds }}s"
drain-notice = "{{ .Values.drainNoticeSeconds }}s"
{{- with .Values.configuration.top }}
{{ . | trim }}
{{- end }}

[deployment]
exporter-region = {{ toJson .Values.exporterRegion }}

[listener]
address = "{{ .Values.bindAddress }}:{{ .Values.listener.port }}"
{{- with .Values.listener.authorities }}
authorities = {{ toJson . }}
{{- end }}
{{- with .Values.listener.extra }}
{{ . | trim }}
{{- end }}
{{- with .Values.listener.tls }}
{{- if .secretName }}
[listener.tls]
certificate = "/etc/purposegate/tls/tls.crt"
key = "/etc/purposegate/tls/tls.key"
{{- if .clientCa }}
client-ca = "/etc/purposegate/tls/ca.crt"
{{- end }}
{{- end }}
{{- end }}

[admin]
{{- if .Values.admin.exposed }}
address = "{{ .Values.bindAddress }}:{{ .Values.admin.port }}"
authorities = {{ include "purposegate.adminAuthorities" . }}
{{- with .Values.admin.tokens }}
tokens = [
{{- range . }}
  { name = {{ toJson .name }}, hash = {{ toJson .hash }}, roles = {{ toJson .roles }} },
{{- end }}
]
{{- end }}
{{- with .Values.admin.certificates }}
certificates = [
{{- range . }}
  { name = {{ toJson .name }}, certificate = {{ toJson .certificate }}, roles = {{ toJson .roles }} },
{{- end }}
]
{{- end }}
[admin.tls]
certificate = "/etc/purposegate/admin-tls/tls.crt"
key = "/etc/purposegate/admin-tls/tls.key"
{{- if .Values.admin.tls.clientCa }}
client-ca = "/etc/purposegate/admin-tls/ca.crt"
{{- end }}
{{- else }}
address = "127.0.0.1:{{ .Values.admin.port }}"
{{- end }}

[probes]
address = "{{ .Values.bindAddress }}:{{ .Values.probes.port }}"

[ledger]
{{- if .Values.ledger.url }}
url = {{ toJson .Values.ledger.url }}
max-staleness = {{ toJson .Values.ledger.maxStaleness }}
migrate = {{ .Values.ledger.migrate }}
{{- if .Values.ledger.passwordSecret.name }}
password-file = "/etc/purposegate/ledger/password"
{{- end }}
{{- if .Values.ledger.caConfigMap.name }}
ca = "/etc/purposegate/ledger/ca.crt"
{{- end }}
{{- else }}
url = "sqlite:/var/lib/purposegate/ledger.db"
{{- end }}

[audit]
directory = "/var/lib/purposegate/audit"
durability = {{ toJson .Values.audit.durability }}
retention = {{ toJson .Values.audit.retention }}
intents = {{ toJson .Values.audit.intents }}
checkpoints = [
{{- range $sink := .Values.audit.checkpoints }}
  { {{ range $at, $key := keys $sink | sortAlpha }}{{ if $at }}, {{ end }}{{ $key }} = {{ toJson (get $sink $key) }}{{ end }} },
{{- end }}
]

[keys]
file = "/etc/purposegate/keys/keys"
{{- with .Values.configuration.sections }}

{{ . | trim }}
{{- end }}
{{- end -}}

{{- define "purposegate.adminAuthorities" -}}
{{- $service := printf "%s-admin" (include "purposegate.fullname" .) -}}
{{- $names := list $service (printf "%s.%s" $service .Release.Namespace) (printf "%s.%s.svc" $service .Release.Namespace) -}}
{{- concat $names .Values.admin.authorities | toJson -}}
{{- end -}}
