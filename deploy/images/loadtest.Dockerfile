# The load tests, and the digits that they send. Make those first: attnserve build --demo --samples run/samples
#   docker build -f deploy/images/loadtest.Dockerfile -t attnserve-loadtest:0.1.0 .
FROM python:3.11.13-slim-bookworm AS build
ENV PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1
RUN python -m venv /opt/attnserve
WORKDIR /src
COPY pyproject.toml README.md LICENSE ./
COPY handlers handlers
COPY model_store model_store
COPY serve serve
RUN /opt/attnserve/bin/pip install ".[loadtest]"

FROM python:3.11.13-slim-bookworm
COPY --from=build /opt/attnserve /opt/attnserve
COPY deploy/images/loadtest_start.py /opt/attnserve/
COPY loadtests /opt/loadtest/loadtests
COPY run/samples /opt/loadtest/run/samples
# matplotlib keeps a cache, and wants a folder for it.
ENV PATH=/opt/attnserve/bin:$PATH PYTHONUNBUFFERED=1 MPLCONFIGDIR=/tmp/matplotlib
USER 10001:10001
WORKDIR /opt/loadtest
EXPOSE 5557
ENTRYPOINT ["python", "/opt/attnserve/loadtest_start.py"]
