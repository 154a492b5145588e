{{/* The name of everything in a release. Flink's clusters want at most 45 characters and a letter first. */}}
{{- define "beam-curate.name" -}}
{{- $name := ternary .Release.Name (printf "%s-%s" .Release.Name .Chart.Name) (contains .Chart.Name .Release.Name) -}}
{{- if not (regexMatch "^[a-z]([-a-z0-9]*[a-z0-9])?$" $name) -}}
{{- fail (printf "the release %s: Flink wants a name of lower-case letters, digits and dashes that begins with a letter" .Release.Name) -}}
{{- end -}}
{{- if gt (len $name) 40 -}}
{{- fail (printf "the release %s: the names of its parts would be too long for Flink; take a name of at most %d characters" .Release.Name (sub 39 (len .Chart.Name))) -}}
{{- end -}}
{{- $name -}}
{{- end -}}

{{- define "beam-curate.selector" -}}
app.kubernetes.io/name: {{ .Chart.Name }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end -}}

{{/* Call with (list . "component"). */}}
{{- define "beam-curate.labels" -}}
{{- $root := index . 0 -}}
{{ include "beam-curate.selector" $root }}
app.kubernetes.io/component: {{ index . 1 }}
app.kubernetes.io/managed-by: {{ $root.Release.Service }}
helm.sh/chart: {{ printf "%s-%s" $root.Chart.Name $root.Chart.Version | replace "+" "_" }}
{{- end -}}

{{- define "beam-curate.serviceAccount" -}}
{{- if .Values.serviceAccount.create -}}
{{- .Values.serviceAccount.name | default (include "beam-curate.name" .) -}}
{{- else -}}
{{- required "serviceAccount.name: name the existing service account, or set serviceAccount.create to true" .Values.serviceAccount.name -}}
{{- end -}}
{{- end -}}

{{/* A reference to an image. Call with (list "image" .Values.image). */}}
{{- define "beam-curate.image" -}}
{{- $where := index . 0 -}}
{{- $image := index . 1 -}}
{{- $repository := required (printf "%s.repository: name the image, such as registry.example.com/beam-curate" $where) $image.repository -}}
{{- $tag := required (printf "%s.tag: name one version of the image; there is no default" $where) $image.tag -}}
{{- if eq $tag "latest" -}}
{{- fail (printf "%s.tag: latest is another image from day to day; name one version" $where) -}}
{{- end -}}
{{- printf "%s:%s" $repository $tag -}}
{{- end -}}

{{- define "beam-curate.flinkImage" -}}
{{- $tags := dict "1.19" "1.19.3-scala_2.12-java11" "1.20" "1.20.4-scala_2.12-java11" -}}
{{- $image := .Values.flink.image -}}
{{- $tag := $image.tag | default (get $tags .Values.flink.version) -}}
{{- include "beam-curate.image" (list "flink.image" (dict "repository" $image.repository "tag" $tag)) -}}
{{- end -}}

{{- define "beam-curate.jobServerImage" -}}
{{- $image := .Values.jobServer.image -}}
{{- $repository := $image.repository | default (printf "apache/beam_flink%s_job_server" .Values.flink.version) -}}
{{- include "beam-curate.image" (list "jobServer.image" (dict "repository" $repository "tag" $image.tag)) -}}
{{- end -}}

{{/* Of every pod. The group is that of the volumes; users are those of the containers. */}}
{{- define "beam-curate.podSecurity" -}}
runAsNonRoot: true
runAsUser: 1000
runAsGroup: 1000
fsGroup: 1000
fsGroupChangePolicy: OnRootMismatch
seccompProfile:
  type: RuntimeDefault
{{- end -}}

{{/* Of every container. */}}
{{- define "beam-curate.containerSecurity" -}}
allowPrivilegeEscalation: false
privileged: false
readOnlyRootFilesystem: true
capabilities:
  drop: [ALL]
{{- end -}}

{{- define "beam-curate.pullSecrets" -}}
{{- with .Values.imagePullSecrets }}
imagePullSecrets:
{{- range . }}
  - name: {{ . }}
{{- end }}
{{- end }}
{{- end -}}

{{/* Scheduling of pods without a GPU. */}}
{{- define "beam-curate.scheduling" -}}
{{- with .Values.nodeSelector }}
nodeSelector:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .Values.tolerations }}
tolerations:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end -}}

{{/* The environment of the containers that run beam-curate: worker pools and the Job. */}}
{{- define "beam-curate.env" -}}
- name: HOME
  value: /tmp
{{- if .Values.credentials.s3.secretName }}
- name: COSMOS_S3_PROFILE_PATH
  value: /etc/beam-curate/s3/credentials
{{- end }}
{{- if .Values.credentials.gcs.secretName }}
- name: GOOGLE_APPLICATION_CREDENTIALS
  value: /etc/beam-curate/gcs/key.json
{{- end }}
{{- with .Values.env }}
{{ toYaml . }}
{{- end }}
{{- end -}}

{{- define "beam-curate.volumeMounts" -}}
- name: models
  mountPath: /config
  {{- if .Values.models.existingClaim }}
  readOnly: {{ .Values.models.readOnly }}
  {{- end }}
{{- if .Values.credentials.s3.secretName }}
- name: s3-credentials
  mountPath: /etc/beam-curate/s3
  readOnly: true
{{- end }}
{{- if .Values.credentials.gcs.secretName }}
- name: gcs-credentials
  mountPath: /etc/beam-curate/gcs
  readOnly: true
{{- end }}
{{- with .Values.volumeMounts }}
{{ toYaml . }}
{{- end }}
{{- end -}}

{{- define "beam-curate.volumes" -}}
- name: models
  {{- if .Values.models.existingClaim }}
  persistentVolumeClaim:
    claimName: {{ .Values.models.existingClaim }}
    readOnly: {{ .Values.models.readOnly }}
  {{- else }}
  emptyDir:
    sizeLimit: {{ .Values.models.size }}
  {{- end }}
{{- with .Values.credentials.s3 }}
{{- if .secretName }}
- name: s3-credentials
  secret:
    secretName: {{ .secretName }}
    defaultMode: 0440
    items:
      - key: {{ .key }}
        path: credentials
{{- end }}
{{- end }}
{{- with .Values.credentials.gcs }}
{{- if .secretName }}
- name: gcs-credentials
  secret:
    secretName: {{ .secretName }}
    defaultMode: 0440
    items:
      - key: {{ .key }}
        path: key.json
{{- end }}
{{- end }}
{{- with .Values.volumes }}
{{ toYaml . }}
{{- end }}
{{- end -}}

{{/* All flags of the run as YAML: those of the chart below those of run.config, whose names may have underscores. */}}
{{- define "beam-curate.config" -}}
{{- $flags := dict "workspace" "/config" -}}
{{- if not (kindIs "invalid" .Values.pool.gpuMemoryGb) -}}
{{- $_ := set $flags "gpu-memory-gb" .Values.pool.gpuMemoryGb -}}
{{- end -}}
{{- range $key, $value := .Values.run.config -}}
{{- $_ := set $flags (replace "_" "-" $key) $value -}}
{{- end -}}
{{- if or (hasKey $flags "runner") (hasKey $flags "config") -}}
{{- fail "run.config: leave out runner and config, which the chart sets" -}}
{{- end -}}
{{- if not (hasKey $flags "output-clip-path") -}}
{{- fail "run.config: output-clip-path is missing; name the place of the output, such as s3://BUCKET/PREFIX" -}}
{{- end -}}
{{- if not (or (hasKey $flags "input-video-path") (hasKey $flags "input-video-list-json-path")) -}}
{{- fail "run.config: input-video-path is missing; name the place of the footage, such as s3://BUCKET/PREFIX" -}}
{{- end -}}
{{- range $key, $value := $flags }}
{{ $key }}: {{ include "beam-curate.scalar" $value }}
{{- end }}
{{- end -}}

{{/* A flag's value. Helm holds every number as a float and would print 1000000 as 1e+06. */}}
{{- define "beam-curate.scalar" -}}
{{- if and (kindIs "float64" .) (eq (floor .) .) -}}
{{- printf "%.0f" . -}}
{{- else if kindIs "string" . -}}
{{- . | quote -}}
{{- else -}}
{{- . -}}
{{- end -}}
{{- end -}}
