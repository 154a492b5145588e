"""Flags of a job for Dataflow."""

PLACES = ("--input-video-path=gs://bucket/in", "--output-clip-path=gs://bucket/out")
CLOUD = (
    "--project=footage-team",
    "--region=europe-west4",
    "--temp_location=gs://bucket/tmp",
    "--sdk_container_image=europe-west4-docker.pkg.dev/footage-team/images/beam-curate:1.0",
)
WITH_MODELS = ("--captioning-algorithm=cosmos_r1", "--generate-cosmos-predict-dataset=predict2")
MODELS = ("--model-weights-path=gs://bucket/models",)
ACCELERATOR = "--dataflow_service_options=worker_accelerator="
