# One image for every role, by its command: `ray_stages ray-head`, `ray_stages ray-worker`,
# `ray_stages triton`, `gateway`, or `ray_stages serve` for all of them in one container.
#
#   BASE   what has tritonserver and Python, or Debian: then tritonserver comes from the wheel
#   TORCH  cpu or cuda: which lock file of requirements/
ARG BASE=debian:bookworm-slim

FROM ${BASE} AS base
ENV DEBIAN_FRONTEND=noninteractive
# libpython: Triton's Python backend loads it. tini: whoever is process 1 must bury orphans.
RUN apt-get update -qq \
 && apt-get install -qq --no-install-recommends ca-certificates python3 tini >/dev/null \
 && apt-get install -qq --no-install-recommends \
      "libpython$(python3 -c 'import sys; print("%d.%d" % sys.version_info[:2])')" >/dev/null \
 && rm -rf /var/lib/apt/lists/*

FROM base AS dependencies
RUN apt-get update -qq \
 && apt-get install -qq --no-install-recommends python3-pip python3-venv >/dev/null
ARG TORCH=cpu
ARG PIP_INDEX_URL
ARG PIP_EXTRA_INDEX_URL
COPY requirements/${TORCH}.txt /opt/venv/requirements.txt
# pip stays outside: the image that runs can install nothing.
RUN python3 -m venv --without-pip /opt/venv \
 && pip --python /opt/venv/bin/python install --quiet --no-cache-dir --only-binary :all: \
      --require-hashes --requirement /opt/venv/requirements.txt

FROM base
ARG VERSION=0.1.0
LABEL org.opencontainers.image.title="Latent Relay" \
      org.opencontainers.image.description="Text to image: a Triton ensemble backed by Ray Serve" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.licenses="Apache-2.0"
RUN useradd --uid 10001 --user-group --home-dir /var/lib/latent-relay relay \
 && install -d -o relay -g relay /var/lib/latent-relay /var/lib/latent-relay/ray \
      /var/lib/latent-relay/gateway /var/cache/latent-relay
COPY --from=dependencies /opt/venv /opt/venv
WORKDIR /app
COPY models models
COPY LICENSE client.py ./
COPY relay_client relay_client
COPY model_repository model_repository
COPY env_settings env_settings
COPY gateway gateway
COPY ray_stages ray_stages
RUN /opt/venv/bin/python -m compileall -q client.py relay_client model_repository env_settings gateway ray_stages

# What all nodes of a Ray cluster must agree on, the launcher or KubeRay alike; see ray_stages/launcher/ray_environment.py.
ENV PATH=/opt/venv/bin:$PATH \
    PYTHONPATH=/app \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1 \
    RAY_AUTH_MODE=token \
    RAY_AUTH_TOKEN_PATH=/var/lib/latent-relay/ray/token \
    RAY_USAGE_STATS_ENABLED=0 \
    RAY_DEDUP_LOGS=0 \
    RAY_COLOR_PREFIX=0 \
    RAY_SCHEDULER_EVENTS=0 \
    RAY_SERVE_FORCE_STOP_UNHEALTHY_REPLICAS=1 \
    RAY_task_events_max_num_task_in_gcs=5000 \
    RAY_ROTATION_MAX_BYTES=10000000 \
    RAY_ROTATION_BACKUP_COUNT=1 \
    GOMP_SPINCOUNT=3000 \
    HOME=/tmp \
    HF_HOME=/var/cache/latent-relay/huggingface \
    CACHE_DIR=/var/cache/latent-relay \
    RUN_DIR=/tmp/latent-relay \
    LOG_TO=stdout \
    BIND=0.0.0.0 \
    STORE=sqlite:////var/lib/latent-relay/gateway/gateway.sqlite
USER 10001:10001
ENTRYPOINT ["tini", "--", "python", "-m"]
CMD ["ray_stages", "serve"]
# Draws a tiny picture; roles without a gateway override it.
HEALTHCHECK --interval=30s --timeout=25s --start-period=5m \
  CMD ["python", "-m", "ray_stages", "check", "gateway"]
