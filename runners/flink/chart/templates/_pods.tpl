{{/*
The worker pool. As an init container that always runs it is a sidecar: the TaskManager is started when the probe
says that the pool accepts connections, so that no task comes before, and is ended first.
*/}}
{{- define "beam-curate.pool" -}}
- name: worker-pool
  image: {{ include "beam-curate.image" (list "image" .Values.image) }}
  imagePullPolicy: {{ .Values.image.pullPolicy }}
  restartPolicy: Always
  args: ["--worker_pool"]
  env:
    # Without it the boot program makes a fresh environment for each worker, without beam-curate.
    - name: RUN_PYTHON_SDK_IN_DEFAULT_ENVIRONMENT
      value: "1"
    {{- if gt (int .Values.pool.gpus) 0 }}
    - name: NVIDIA_DRIVER_CAPABILITIES
      value: compute,utility,video
    {{- end }}
    {{- include "beam-curate.env" . | nindent 4 }}
  startupProbe:
    tcpSocket:
      port: 50000
    periodSeconds: 2
    failureThreshold: 150
  readinessProbe:
    tcpSocket:
      port: 50000
    periodSeconds: 10
  {{- $resources := deepCopy .Values.pool.resources }}
  {{- if gt (int .Values.pool.gpus) 0 }}
  {{- $gpus := dict .Values.pool.gpuResource (int .Values.pool.gpus) }}
  {{- $_ := set $resources "limits" (merge $gpus ($resources.limits | default dict)) }}
  {{- end }}
  resources:
    {{- toYaml $resources | nindent 4 }}
  securityContext:
    {{- include "beam-curate.containerSecurity" . | nindent 4 }}
  volumeMounts:
    - name: scratch
      mountPath: /tmp
    - name: shm
      mountPath: /dev/shm
    {{- include "beam-curate.volumeMounts" . | nindent 4 }}
{{- end -}}

{{/* What pods of JobManager and TaskManagers have in common. */}}
{{- define "beam-curate.flinkPod" -}}
automountServiceAccountToken: false
enableServiceLinks: false
securityContext:
  {{- include "beam-curate.podSecurity" . | nindent 2 }}
{{- include "beam-curate.pullSecrets" . }}
containers:
  - name: flink-main-container
    securityContext:
      runAsUser: 9999
      runAsGroup: 9999
      {{- include "beam-curate.containerSecurity" . | nindent 6 }}
    volumeMounts:
      - name: flink-tmp
        mountPath: /tmp
      - name: flink-log
        mountPath: /opt/flink/log
{{- end -}}

{{- define "beam-curate.flinkVolumes" -}}
- name: flink-tmp
  emptyDir: {}
- name: flink-log
  emptyDir: {}
{{- end -}}
