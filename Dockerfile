# One file, two images: docker build --target relayer . and docker build --target sidecar .
# TypeScript runs as it is on Node 24, so an image is the sources and their production dependencies, no build step.
#
# A tag can be moved, a digest cannot. Before you build for production, pin the base, at each FROM of it below:
#   docker buildx imagetools inspect node:24.21.0-bookworm-slim      prints Digest: sha256:…
#   FROM node:24.21.0-bookworm-slim@sha256:… AS sources
# For x86-64 and arm64 at once, with a list of what is in it, pushed:
#   docker buildx build --platform linux/amd64,linux/arm64 --sbom=true --provenance=true --target relayer -t registry.example/dvt-relayer:0.2.0 --push .
# The user has a number, so that Kubernetes can see that it is not root.

FROM node:24.21.0-bookworm-slim AS sources
WORKDIR /app
COPY package.json package-lock.json ./
COPY libs ./libs
COPY migrations ./migrations

FROM sources AS relayer-install
COPY apps/relayer ./apps/relayer
# What the status page tells people to do.
COPY docs/operating/runbook.md ./docs/operating/runbook.md
RUN npm ci --omit=dev --workspace apps/relayer --no-audit --no-fund

FROM sources AS sidecar-install
COPY apps/sidecar ./apps/sidecar
RUN npm ci --omit=dev --workspace apps/sidecar --no-audit --no-fund

FROM node:24.21.0-bookworm-slim AS relayer
WORKDIR /app
COPY --from=relayer-install /app ./
RUN mkdir /data && chown 1000:1000 /data
USER 1000:1000
ENV RELAYER_HOST=0.0.0.0 DATA_DIR=/data LOG_FORMAT=json NODE_ENV=production
EXPOSE 8000
VOLUME /data
HEALTHCHECK --interval=10s --timeout=3s --start-period=20s \
  CMD ["node", "-e", "fetch(`http://127.0.0.1:${process.env.RELAYER_PORT ?? 8000}/health`).then((r) => process.exit(r.ok ? 0 : 1), () => process.exit(1))"]
# A small young generation halves the memory and costs no time.
CMD ["node", "--max-semi-space-size=4", "apps/relayer/src/main.ts"]

FROM node:24.21.0-bookworm-slim AS sidecar
WORKDIR /app
COPY --from=sidecar-install /app ./
USER 1000:1000
# No volume is declared for the journal: one without a name would be lost with its container. Where nothing is mounted, no deposit
# is signed, and the log says why.
ENV SIDECAR_HOST=0.0.0.0 SIDECAR_PORT=8001 JOURNAL_FILE=/sidecar/deposits.journal SSV_STATE_FILE=/sidecar/ssv-state.json \
  LOG_FORMAT=json NODE_ENV=production
EXPOSE 8001
HEALTHCHECK --interval=10s --timeout=3s --start-period=60s \
  CMD ["node", "-e", "fetch(`http://127.0.0.1:${process.env.SIDECAR_PORT}/health`).then((r) => process.exit(r.ok ? 0 : 1), () => process.exit(1))"]
CMD ["node", "apps/sidecar/src/main.ts"]
