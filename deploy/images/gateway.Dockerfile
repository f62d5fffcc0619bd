# The gateway: no torch, no Java.
#   docker build -f deploy/images/gateway.Dockerfile -t attnserve-gateway:0.1.0 .
FROM python:3.11.13-slim-bookworm AS build
ENV PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1
RUN python -m venv /opt/attnserve
WORKDIR /src
COPY pyproject.toml README.md LICENSE ./
COPY handlers handlers
COPY model_store model_store
COPY serve serve
RUN /opt/attnserve/bin/pip install ".[postgres,report]"

FROM python:3.11.13-slim-bookworm
COPY --from=build /opt/attnserve /opt/attnserve
ENV PATH=/opt/attnserve/bin:$PATH PYTHONUNBUFFERED=1
USER 10001:10001
WORKDIR /tmp
EXPOSE 8000 8001 8002
# The program handles SIGTERM itself and starts no children: it needs no init.
ENTRYPOINT ["attnserve", "serve"]
