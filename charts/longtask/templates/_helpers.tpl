{{- define "longtask.name" -}}
{{- if .Values.fullnameOverride }}
{{- .Values.fullnameOverride | trunc 63 | trimSuffix "-" }}
{{- else if contains .Chart.Name .Release.Name }}
{{- .Release.Name | trunc 63 | trimSuffix "-" }}
{{- else }}
{{- printf "%s-%s" .Release.Name .Chart.Name | trunc 63 | trimSuffix "-" }}
{{- end }}
{{- end }}

{{- /* Values that had another name before. It is understood for one version. */ -}}
{{- define "longtask.replicaCount" -}}
{{- if hasKey .Values "replicas" }}{{ .Values.replicas }}{{ else }}{{ .Values.replicaCount }}{{ end }}
{{- end }}

{{- define "longtask.crdsEnabled" -}}
{{- if hasKey .Values.crds "install" | ternary .Values.crds.install .Values.crds.enabled }}true{{ end }}
{{- end }}

{{- define "longtask.serviceAccount" -}}
{{- if .Values.serviceAccount.create }}
{{- .Values.serviceAccount.name | default (include "longtask.name" .) }}
{{- else }}
{{- required "serviceAccount.name is needed when serviceAccount.create is false" .Values.serviceAccount.name }}
{{- end }}
{{- end }}

{{- define "longtask.image" -}}
{{- if .Values.image.digest }}
{{- printf "%s@%s" .Values.image.repository .Values.image.digest }}
{{- else }}
{{- printf "%s:%s" .Values.image.repository (.Values.image.tag | default .Chart.AppVersion) }}
{{- end }}
{{- end }}

{{- /* Who posts reports is told by TokenReviews, which no Role can allow. */ -}}
{{- define "longtask.takesReports" -}}
{{- if and .Values.reports.enabled (not .Values.watch.namespace) }}true{{ end }}
{{- end }}

{{- /* The policies of the operator itself and of rights are for the whole cluster. */ -}}
{{- define "longtask.holdsOperator" -}}
{{- if and .Values.admissionPolicies.operatorWrites.enabled .Values.operator.fillIn (not .Values.watch.namespace) }}true{{ end }}
{{- end }}

{{- define "longtask.selector" -}}
app.kubernetes.io/name: {{ .Chart.Name }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}

{{- define "longtask.labels" -}}
{{ include "longtask.selector" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/component: operator
app.kubernetes.io/part-of: longtask
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" }}
{{- end }}

{{- /* What the operator may do with sets, tasks and their pods, in each namespace that it watches. */ -}}
{{- define "longtask.rules" -}}
- apiGroups: [longtask.dev]
  resources: [longtasks]
  verbs: [get, list, watch, create, delete{{ if .Values.operator.fillIn }}, update{{ end }}]
- apiGroups: [longtask.dev]
  resources: [longtasksets]
  verbs: [get, list, watch, delete]
- apiGroups: [longtask.dev]
  resources: [longtasksets/status]
  verbs: [update]
- apiGroups: [longtask.dev]
  resources: [taskqueues]
  verbs: [get, list, watch]
- apiGroups: [longtask.dev]
  resources: [taskqueues/status]
  verbs: [update]
- apiGroups: [longtask.dev]
  resources: [longtasktemplates]
  verbs: [get, list, watch]
# For policies that ask for them: nothing is behind these names.
- apiGroups: [longtask.dev]
  resources: [longtasktemplates/start, longtasks/definition]
  verbs: [create]
- apiGroups: [longtask.dev]
  resources: [longtasks/status]
  verbs: [update]
# For owner references that block deletion, on clusters with the admission plugin OwnerReferencesPermissionEnforcement.
- apiGroups: [longtask.dev]
  resources: [longtasks/finalizers, longtasksets/finalizers]
  verbs: [update]
- apiGroups: [""]
  resources: [pods]
  verbs: [get, list, watch, create, patch, delete]
- apiGroups: [""]
  resources: [persistentvolumeclaims]
  verbs: [get, create, delete]
- apiGroups: [events.k8s.io]
  resources: [events]
  verbs: [create, patch]
{{- end }}
