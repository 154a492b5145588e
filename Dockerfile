# The image of workers, and of the program for a computer with docker; docs/docker.md says how to build, check and use it.
# It holds no models: they are in the workspace, which is mounted at /config.

ARG BASE_IMAGE=python:3.11-slim-bookworm
ARG BEAM_IMAGE=apache/beam_python3.11_sdk:2.77.0

FROM ${BEAM_IMAGE} AS beam

FROM ${BASE_IMAGE} AS packages
RUN python3 -m venv /opt/beam-curate
ENV PATH=/opt/beam-curate/bin:$PATH PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_ROOT_USER_ACTION=ignore
# One layer of packages that changes seldom and is large, before the program, which changes often and is small.
COPY requirements.lock /build/
RUN pip install --require-hashes --requirement /build/requirements.lock
COPY setup.py pyproject.toml README.md LICENSE /build/
COPY beam_curate /build/beam_curate
COPY transforms /build/transforms
COPY runners /build/runners
RUN pip install --no-deps /build && pip check

FROM ${BASE_IMAGE}
# A worker of Dataflow has to be root: --build-arg RUN_AS=root.
ARG RUN_AS=1000:1000
LABEL org.opencontainers.image.title="beam-curate" \
      org.opencontainers.image.description="Source videos in, a Cosmos-Predict fine-tuning dataset out" \
      org.opencontainers.image.licenses="Apache-2.0"
COPY --from=beam /opt/apache/beam /opt/apache/beam
COPY --from=packages /opt/beam-curate /opt/beam-curate
# The home folder takes any user, since `docker run --user` names one without an account. Dataflow and Kubernetes put the
# libraries of the GPU's driver into /usr/local/nvidia; docker asks for them by the variables.
RUN groupadd --gid 1000 curate && useradd --uid 1000 --gid 1000 --create-home curate \
    && ln -s /config /home/curate/cosmos_curate_local_workspace && mkdir /config \
    && chown curate:curate /config && chmod 1777 /home/curate
ENV PATH=/opt/beam-curate/bin:$PATH \
    HOME=/home/curate \
    COSMOS_CURATE_LOCAL_WORKSPACE_PREFIX=/home/curate \
    RUN_PYTHON_SDK_IN_DEFAULT_ENVIRONMENT=1 \
    PYTHONUNBUFFERED=1 \
    LD_LIBRARY_PATH=/usr/local/nvidia/lib:/usr/local/nvidia/lib64 \
    NVIDIA_VISIBLE_DEVICES=all \
    NVIDIA_DRIVER_CAPABILITIES=compute,utility,video
USER ${RUN_AS}
WORKDIR /home/curate
# Runners start workers by Beam's boot program, and pass it their own arguments.
ENTRYPOINT ["/opt/apache/beam/boot"]
