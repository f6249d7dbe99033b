{{/* What `autoscaler run` is told: a YAML list. */}}
{{- define "autoscaler.args" -}}
{{- $prometheus := .Values.metrics.prometheus -}}
- run
- --actuate={{ .Values.mode }}
- --period={{ .Values.period }}
- --cluster-name={{ .Values.clusterName }}
- --provider={{ .Values.provider }}
- --metrics-source={{ .Values.metrics.source }}
{{- if eq .Values.metrics.source "prometheus" }}
- --prometheus-url={{ $prometheus.url }}
- --prometheus-timeout={{ $prometheus.timeout }}
{{- range $name, $value := $prometheus.headers }}
- {{ printf "--prometheus-header=%s: %s" $name $value | toJson }}
{{- end }}
{{- with $prometheus.user }}
- {{ printf "--prometheus-user=%s" . | toJson }}
{{- end }}
{{- range $flag, $folder := dict "token" "prometheus-token" "password" "prometheus-password" "ca" "prometheus-ca" }}
{{- if hasKey (include "autoscaler.files" $ | fromYaml) $folder }}
- --prometheus-{{ $flag }}-file=/etc/autoscaler/{{ $folder }}/{{ $flag }}
{{- end }}
{{- end }}
{{- end }}
{{- if .Values.leaderElection.enabled }}
- --lease-name={{ include "autoscaler.fullname" . }}
- --lease-namespace={{ .Release.Namespace }}
{{- else }}
- --no-leader-elect
{{- end }}
{{- if include "autoscaler.checkpoint" . }}
- --checkpoint=configmap:{{ include "autoscaler.fullname" . }}
{{- end }}
- --listen-port={{ .Values.service.port }}
{{- if include "autoscaler.webhook" . }}
- --webhook-port={{ .Values.webhook.port }}
- --webhook-cert-file=/etc/autoscaler/webhook/tls.crt
- --webhook-key-file=/etc/autoscaler/webhook/tls.key
{{- end }}
- --log-level={{ .Values.log.level }}
- --log-format={{ .Values.log.format }}
{{- range .Values.extraArgs }}
- {{ . | toJson }}
{{- end }}
{{- end -}}

{{/* Secrets that are mounted as files under /etc/autoscaler: {folder: {secret, items: {key: file}}}. */}}
{{- define "autoscaler.files" -}}
{{- $prometheus := .Values.metrics.prometheus -}}
{{- if eq .Values.metrics.source "prometheus" }}
{{- range $file, $secret := dict "token" $prometheus.tokenSecret "password" $prometheus.passwordSecret "ca" $prometheus.caSecret }}
{{- if $secret.name }}
prometheus-{{ $file }}: {secret: {{ $secret.name }}, items: {{ dict $secret.key $file | toJson }}}
{{- end }}
{{- end }}
{{- end }}
{{- if include "autoscaler.webhook" . }}
webhook: {secret: {{ include "autoscaler.webhookSecret" . }}, items: {tls.crt: tls.crt, tls.key: tls.key}}
{{- end }}
{{- end -}}
