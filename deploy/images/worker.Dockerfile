# A TorchServe worker with the archives of model_store/archives. Build those first: attnserve build ...
#   docker build -f deploy/images/worker.Dockerfile -t attnserve-worker:0.1.0 \
#     --build-arg PIP_EXTRA_INDEX_URL=https://download.pytorch.org/whl/cpu .
# Without the build argument torch comes from PyPI, which is its CUDA build.
FROM python:3.11.13-slim-bookworm AS build
ARG PIP_EXTRA_INDEX_URL=""
ENV PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1
RUN python -m venv /opt/attnserve
WORKDIR /src
COPY pyproject.toml README.md LICENSE ./
COPY handlers handlers
COPY model_store model_store
COPY serve serve
RUN /opt/attnserve/bin/pip install ".[worker]"

FROM python:3.11.13-slim-bookworm
# Debian's version of tini moves only with security fixes, and old ones leave its servers.
# hadolint ignore=DL3008
RUN apt-get update \
    && apt-get install --yes --no-install-recommends tini \
    && rm -rf /var/lib/apt/lists/*
COPY --from=build /opt/attnserve /opt/attnserve
COPY deploy/images/worker_start.py deploy/images/worker_probe.py /opt/attnserve/
COPY model_store/archives /models
ENV PATH=/opt/attnserve/bin:$PATH PYTHONUNBUFFERED=1
USER 10001:10001
WORKDIR /tmp
EXPOSE 7070
# TorchServe's workers may leave orphans behind, which tini collects; it passes SIGTERM on to Java.
ENTRYPOINT ["tini", "--", "python", "/opt/attnserve/worker_start.py"]
