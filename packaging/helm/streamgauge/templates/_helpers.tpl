{{- define "streamgauge.name" -}}
{{- default .Chart.Name .Values.nameOverride | trunc 63 | trimSuffix "-" }}
{{- end }}

{{- define "streamgauge.fullname" -}}
{{- if .Values.fullnameOverride }}
{{- .Values.fullnameOverride | trunc 52 | trimSuffix "-" }}
{{- else if contains (include "streamgauge.name" .) .Release.Name }}
{{- .Release.Name | trunc 52 | trimSuffix "-" }}
{{- else }}
{{- printf "%s-%s" .Release.Name (include "streamgauge.name" .) | trunc 52 | trimSuffix "-" }}
{{- end }}
{{- end }}

{{- define "streamgauge.selectorLabels" -}}
app.kubernetes.io/name: {{ include "streamgauge.name" . }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}

{{- define "streamgauge.labels" -}}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" | trunc 63 | trimSuffix "-" }}
{{ include "streamgauge.selectorLabels" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
{{- end }}

{{- define "streamgauge.serviceAccountName" -}}
{{- if .Values.serviceAccount.create }}
{{- default (include "streamgauge.fullname" .) .Values.serviceAccount.name }}
{{- else }}
{{- default "default" .Values.serviceAccount.name }}
{{- end }}
{{- end }}

{{- define "streamgauge.image" -}}
{{- if .Values.image.digest }}
{{- printf "%s@%s" .Values.image.repository .Values.image.digest }}
{{- else }}
{{- printf "%s:%s" .Values.image.repository (default .Chart.AppVersion .Values.image.tag) }}
{{- end }}
{{- end }}

{{- define "streamgauge.socket" -}}
unix:/tmp/streamgauge.sock
{{- end }}

{{/* A file whose links to the agents are those of browsers: https where Prometheus scrapes by https. Takes root and text. */}}
{{- define "streamgauge.linked" -}}
{{- $scheme := printf "%s://" .root.Values.podMonitor.scheme }}
{{- .text | replace "http://{{ $labels.instance }}" (print $scheme "{{ $labels.instance }}") | replace "http://${__data.fields.instance}" (print $scheme "${__data.fields.instance}") }}
{{- end }}
