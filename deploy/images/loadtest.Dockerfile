# The load tests, and the digits that they send. Make those first: attnserve build --demo --samples run/samples
#   docker build -f deploy/images/loadtest.Dockerfile -t attnserve-loadtest:0.1.0 .
# For a release give BASE with the digest that was examined: python:3.11.13-slim-bookworm@sha256:...
ARG BASE=python:3.11.13-slim-bookworm
# checkov:skip=CKV_DOCKER_7:checkov does not look the argument up, whose version is whole
FROM ${BASE} AS build
ENV PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_CONSTRAINT=/src/deploy/images/constraints.txt
# pip and setuptools stay behind, in an environment of their own.
RUN python -m venv /opt/pip && python -m venv --without-pip /opt/attnserve
WORKDIR /src
COPY deploy/images/constraints.txt deploy/images/slim.py deploy/images/
COPY pyproject.toml README.md LICENSE ./
COPY handlers handlers
COPY model_store model_store
COPY serve serve
RUN /opt/pip/bin/pip --python /opt/attnserve/bin/python install ".[loadtest]" \
    && python deploy/images/slim.py /opt/attnserve

FROM ${BASE}
ARG VERSION=0.1.0
LABEL org.opencontainers.image.title="attnserve-loadtest" \
      org.opencontainers.image.description="Load tests of attnserve's gateway" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.version="${VERSION}"
# Nothing is installed any more, and pip's own flaws are not ours to carry.
RUN rm -rf /usr/local/lib/python3.*/site-packages/* /usr/local/lib/python3.*/ensurepip /usr/local/bin/pip*
COPY --from=build /opt/attnserve /opt/attnserve
COPY deploy/images/loadtest_start.py /opt/attnserve/
COPY loadtests /opt/loadtest/loadtests
COPY run/samples /opt/loadtest/run/samples
# matplotlib keeps a cache, and wants a folder for it.
ENV PATH=/opt/attnserve/bin:$PATH PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1 MPLCONFIGDIR=/tmp/matplotlib
USER 10001:10001
WORKDIR /opt/loadtest
EXPOSE 5557
# A load test serves nobody: it runs, keeps its report for a while, and ends.
HEALTHCHECK NONE
ENTRYPOINT ["python", "/opt/attnserve/loadtest_start.py"]
