{{- define "autoscaler.name" -}}
{{- default .Chart.Name .Values.nameOverride | trunc 52 | trimSuffix "-" -}}
{{- end -}}

{{- define "autoscaler.fullname" -}}
{{- if .Values.fullnameOverride -}}
{{- .Values.fullnameOverride | trunc 52 | trimSuffix "-" -}}
{{- else if contains (include "autoscaler.name" .) .Release.Name -}}
{{- .Release.Name | trunc 52 | trimSuffix "-" -}}
{{- else -}}
{{- printf "%s-%s" .Release.Name (include "autoscaler.name" .) | trunc 52 | trimSuffix "-" -}}
{{- end -}}
{{- end -}}

{{- define "autoscaler.selector" -}}
app.kubernetes.io/name: {{ include "autoscaler.name" . }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end -}}

{{- define "autoscaler.labels" -}}
{{ include "autoscaler.selector" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
{{- end -}}

{{- define "autoscaler.serviceAccount" -}}
{{- if .Values.serviceAccount.create -}}
{{- default (include "autoscaler.fullname" .) .Values.serviceAccount.name -}}
{{- else -}}
{{- required "serviceAccount.name: needed where serviceAccount.create is false" .Values.serviceAccount.name -}}
{{- end -}}
{{- end -}}

{{- define "autoscaler.image" -}}
{{- if .Values.image.digest -}}
{{- printf "%s@%s" .Values.image.repository .Values.image.digest -}}
{{- else -}}
{{- printf "%s:%s" .Values.image.repository (default .Chart.AppVersion .Values.image.tag) -}}
{{- end -}}
{{- end -}}

{{/* The API server authorises a dry run like the write itself. */}}
{{- define "autoscaler.mayWrite" -}}
{{- if or (eq .Values.mode "apply") (eq .Values.mode "validate") -}}true{{- end -}}
{{- end -}}

{{- define "autoscaler.webhook" -}}
{{- if and .Values.webhook.enabled (eq .Values.mode "apply") -}}true{{- end -}}
{{- end -}}

{{- define "autoscaler.webhookSecret" -}}
{{- if .Values.webhook.certManager.enabled -}}
{{- printf "%s-webhook" (include "autoscaler.fullname" .) -}}
{{- else -}}
{{- required "webhook.tlsSecret: needed where webhook.certManager.enabled is false" .Values.webhook.tlsSecret -}}
{{- end -}}
{{- end -}}

{{/* Without mode apply nothing but the lease, events and status may be written. */}}
{{- define "autoscaler.checkpoint" -}}
{{- if and .Values.checkpoint.enabled (eq .Values.mode "apply") -}}true{{- end -}}
{{- end -}}
