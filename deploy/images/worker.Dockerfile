# A TorchServe worker on CPU. It serves the archives in /models with the configuration in /etc/torchserve.
#   docker build -f deploy/images/worker.Dockerfile -t attnserve-worker:0.1.0 .
# For a release give BASE with the digest that was examined: python:3.11.13-slim-bookworm@sha256:...
ARG BASE=python:3.11.13-slim-bookworm
# checkov:skip=CKV_DOCKER_7:checkov does not look the argument up, whose version is whole
FROM ${BASE} AS build
# Where torch's CPU build is; PyPI has the CUDA build, which is ten times as large.
ARG PIP_EXTRA_INDEX_URL=https://download.pytorch.org/whl/cpu
ENV PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1 \
    PIP_CONSTRAINT="/src/deploy/images/constraints.txt"
# pip and setuptools stay behind, in an environment of their own.
RUN python -m venv /opt/pip && python -m venv --without-pip /opt/attnserve
WORKDIR /src
COPY deploy/images/constraints.txt deploy/images/requirements_of.py deploy/images/slim.py deploy/images/
COPY pyproject.toml README.md LICENSE ./
COPY handlers handlers
COPY model_store model_store
COPY serve serve
# Only the extras: the gateway's own libraries are no worker's business, nor is the gateway's command.
RUN python deploy/images/requirements_of.py worker fast-decode >/tmp/requirements.txt \
    && /opt/pip/bin/pip --python /opt/attnserve/bin/python install --requirement /tmp/requirements.txt \
    && /opt/pip/bin/pip --python /opt/attnserve/bin/python install --no-deps . \
    && rm /opt/attnserve/bin/attnserve \
    && python deploy/images/slim.py /opt/attnserve

FROM ${BASE}
ARG VERSION=0.1.0
LABEL org.opencontainers.image.title="attnserve-worker" \
      org.opencontainers.image.description="TorchServe for attnserve, on CPU" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.version="${VERSION}"
# Nothing is installed any more, and pip's own flaws are not ours to carry.
RUN rm -rf /usr/local/lib/python3.*/site-packages/* /usr/local/lib/python3.*/ensurepip /usr/local/bin/pip*
# Debian's version of tini moves only with security fixes, and old ones leave its servers.
# hadolint ignore=DL3008
RUN apt-get update \
    && apt-get install --yes --no-install-recommends tini \
    && rm -rf /var/lib/apt/lists/*
COPY --from=build /opt/attnserve /opt/attnserve
COPY deploy/images/worker_start.py deploy/images/worker_probe.py deploy/images/fetch_models.py /opt/attnserve/
ENV PATH=/opt/attnserve/bin:$PATH PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1
USER 10001:10001
WORKDIR /tmp
EXPOSE 7070
# Whether TorchServe answers at all; how its models are, the pod's probes ask.
HEALTHCHECK --interval=10s --timeout=10s --start-period=120s CMD ["python", "/opt/attnserve/worker_probe.py", "live"]
# TorchServe's workers may leave orphans behind, which tini collects; it passes SIGTERM on to Java.
ENTRYPOINT ["tini", "--", "python", "/opt/attnserve/worker_start.py"]
