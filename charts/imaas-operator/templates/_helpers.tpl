{{- define "imaas.labels" -}}
app.kubernetes.io/part-of: imaas
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
helm.sh/chart: {{ .Chart.Name }}-{{ .Chart.Version }}
{{- end }}

{{- define "imaas.image" -}}
{{- with .Values.image -}}
{{- if and $.Values.registry.host (not $.Values.development) (hasPrefix (printf "%s/" $.Values.registry.host) .repository) }}
{{- fail (printf "image.repository: %s lies in the registry that this image's own token service guards, and could not be pulled without it: put it into another registry" .repository) }}
{{- end }}
{{- if .digest }}{{ .repository }}@{{ .digest }}{{ else }}{{ .repository }}:{{ .tag | default $.Chart.AppVersion }}{{ end }}
{{- end -}}
{{- end }}

{{- define "imaas.authSecret" -}}
{{ .Values.registry.auth.existingSecret | default "imaas-registry-auth" }}
{{- end }}

{{- define "imaas.eventsSecret" -}}
{{ .Values.registry.events.existingSecret | default "imaas-registry-events" }}
{{- end }}

{{- /* `2,acme=3`: the lowest or the current generation of all, then of single tenants. */}}
{{- define "imaas.generations" -}}
{{- $field := last . }}
{{- with (first .).Values.registry.auth.generations }}
{{- $all := dict "registry.auth.generations" . }}
{{- range $tenant, $own := .tenants }}{{ $_ := set $all (printf "registry.auth.generations.tenants.%s" $tenant) $own }}{{ end }}
{{- range $name, $pair := $all }}
{{- if or (lt (int $pair.current) (int $pair.lowest)) (gt (int $pair.current) (add1 (int $pair.lowest))) }}
{{- fail (printf "%s: current must be lowest, or one more: the token service accepts no other generation" $name) }}
{{- end }}
{{- end }}
{{- int (get . $field) }}{{ range $tenant, $own := .tenants }},{{ $tenant }}={{ int (get $own $field) }}{{ end }}
{{- end }}
{{- end }}

{{- /* `20Gi`: in bytes. */}}
{{- define "imaas.bytes" -}}
{{- $units := dict "" 1 "k" 1000 "M" 1000000 "G" 1000000000 "T" 1000000000000 "Ki" 1024 "Mi" 1048576 "Gi" 1073741824 "Ti" 1099511627776 }}
{{- mulf (regexFind "^[0-9.]+" .) (get $units (regexFind "[A-Za-z]*$" .)) }}
{{- end }}

{{- define "imaas.user" -}}
system:serviceaccount:{{ .Release.Namespace }}:{{ .Values.serviceAccount.name }}
{{- end }}

{{- define "imaas.podSecurity" -}}
runAsNonRoot: true
runAsUser: 65532
runAsGroup: 65532
fsGroup: 65532
seccompProfile: {type: RuntimeDefault}
{{- end }}

{{- define "imaas.containerSecurity" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
capabilities: {drop: [ALL]}
{{- end }}

{{- /* Where a deployment runs: its own part of the values. */}}
{{- define "imaas.placement" -}}
{{- with .nodeSelector }}
nodeSelector: {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .tolerations }}
tolerations: {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .affinity }}
affinity: {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .priorityClassName }}
priorityClassName: {{ . | quote }}
{{- end }}
{{- end }}

{{- define "imaas.probes" -}}
livenessProbe:
  httpGet: {path: /livez, port: http}
  periodSeconds: 10
readinessProbe:
  httpGet: {path: /readyz, port: http}
  periodSeconds: 2
{{- end }}
