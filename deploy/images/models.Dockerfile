# The archives of model_store/archives, and the program that copies some of them into a worker's store.
#   attnserve build --demo      # or your own archives
#   docker build -f deploy/images/models.Dockerfile -t attnserve-models:0.1.0 .
# For a release give BASE with the digest that was examined: python:3.11.13-slim-bookworm@sha256:...
ARG BASE=python:3.11.13-slim-bookworm
# checkov:skip=CKV_DOCKER_7:checkov does not look the argument up, whose version is whole
FROM ${BASE} AS build
WORKDIR /archives
COPY model_store/archives/SHA256SUMS model_store/archives/*.mar ./
# A missing or spoilt archive is found here, and not when the first worker wants it.
RUN sha256sum --check --strict SHA256SUMS

FROM ${BASE}
ARG VERSION=0.1.0
LABEL org.opencontainers.image.title="attnserve-models" \
      org.opencontainers.image.description="Model archives for attnserve's workers" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.version="${VERSION}"
# Nothing is installed any more, and pip's own flaws are not ours to carry.
RUN rm -rf /usr/local/lib/python3.*/site-packages/* /usr/local/lib/python3.*/ensurepip /usr/local/bin/pip*
COPY --from=build /archives /archives
COPY deploy/images/fetch_models.py /opt/attnserve/
ENV PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1
USER 10001:10001
WORKDIR /archives
# It copies and ends: there is no health to ask for.
HEALTHCHECK NONE
ENTRYPOINT ["python", "/opt/attnserve/fetch_models.py"]
