# One file, two images: docker build --target relayer . and docker build --target sidecar .
# An app is one bundled file and what it does not hold: native modules, migrations. It starts in half the time of the sources, with
# less memory. Its stack traces name lines of the bundle; NODE_OPTIONS=--enable-source-maps makes them those of the sources, for 100 MB.
#
# A tag can be moved, a digest cannot. Before you build for production, pin the base, at each FROM of it below:
#   docker buildx imagetools inspect node:24.21.0-bookworm-slim      prints Digest: sha256:…
#   FROM node:24.21.0-bookworm-slim@sha256:… AS sources
# For x86-64 and arm64 at once, with a list of what is in it, pushed:
#   docker buildx build --platform linux/amd64,linux/arm64 --sbom=true --provenance=true --target relayer -t registry.example/dvt-relayer:0.2.0 --push .
# Each image holds the list of its npm packages, as npm writes it (CycloneDX): docker run --rm --entrypoint cat IMAGE /app/sbom.cdx.json
# For that the tools of development are taken out of package.json first: npm lists nothing of a tree that lacks one, and --omit=dev leaves out packages
# that are there.
# The user has a number, so that Kubernetes can see that it is not root.

FROM node:24.21.0-bookworm-slim AS sources
WORKDIR /app
COPY package.json package-lock.json .npmrc ./
COPY libs ./libs

FROM sources AS bundle
COPY apps ./apps
COPY deploy/bundle.ts ./deploy/
# What the status page tells people to do.
COPY docs/operating/runbook.md ./docs/operating/runbook.md
RUN npm ci --no-audit --no-fund && npm run bundle

FROM sources AS relayer-install
COPY apps/relayer/package.json ./apps/relayer/
RUN npm ci --omit=dev --workspace apps/relayer --no-audit --no-fund \
  && npm pkg delete devDependencies && npm sbom --workspace apps/relayer --sbom-format=cyclonedx > sbom.cdx.json

FROM sources AS sidecar-install
COPY apps/sidecar/package.json ./apps/sidecar/
RUN npm ci --omit=dev --workspace apps/sidecar --no-audit --no-fund \
  && npm pkg delete devDependencies && npm sbom --workspace apps/sidecar --sbom-format=cyclonedx > sbom.cdx.json

FROM node:24.21.0-bookworm-slim AS relayer
WORKDIR /app
COPY package.json ./
COPY migrations ./migrations
COPY --from=relayer-install /app/node_modules ./node_modules
COPY --from=bundle /app/apps/relayer/dist ./apps/relayer/dist
RUN mkdir /data && chown 1000:1000 /data
USER 1000:1000
ENV RELAYER_HOST=0.0.0.0 DATA_DIR=/data LOG_FORMAT=json NODE_ENV=production \
  MALLOC_ARENA_MAX=2 MALLOC_TRIM_THRESHOLD_=1048576
EXPOSE 8000
VOLUME /data
HEALTHCHECK --interval=10s --timeout=3s --start-period=20s \
  CMD ["node", "-e", "fetch(`http://127.0.0.1:${process.env.RELAYER_PORT ?? 8000}/health`).then((r) => process.exit(r.ok ? 0 : 1), () => process.exit(1))"]
# A small young generation halves the memory, and the C library takes an eighth off it with two heaps for all threads, and as much again by giving back what
# is free at the end of a heap, and what was large; none of it costs time.
# All of it is looked through when there is twice what was left the last time: V8 by itself begins every 1.5 s, however little there is.
# What is young is collected by one thread: of two on busy cores one waits for the other, and everybody for both.
CMD ["node", "--max-semi-space-size=4", "--heap-growing-percent=100", "--no-parallel-scavenge", "--no-parallel-marking", "--concurrent-marking-max-worker-num=1", "apps/relayer/dist/main.js"]

FROM node:24.21.0-bookworm-slim AS sidecar
WORKDIR /app
COPY package.json ./
COPY --from=sidecar-install /app/node_modules ./node_modules
COPY --from=bundle /app/apps/sidecar/dist ./apps/sidecar/dist
USER 1000:1000
# No volume is declared for the journal: one without a name would be lost with its container. Where nothing is mounted, no deposit
# is signed, and the log says why.
ENV SIDECAR_HOST=0.0.0.0 SIDECAR_PORT=8001 JOURNAL_FILE=/sidecar/deposits.journal SSV_STATE_FILE=/sidecar/ssv-state.json \
  LOG_FORMAT=json NODE_ENV=production
EXPOSE 8001
HEALTHCHECK --interval=10s --timeout=3s --start-period=60s \
  CMD ["node", "-e", "fetch(`http://127.0.0.1:${process.env.SIDECAR_PORT}/health`).then((r) => process.exit(r.ok ? 0 : 1), () => process.exit(1))"]
CMD ["node", "--no-parallel-scavenge", "--no-parallel-marking", "--concurrent-marking-max-worker-num=1", "apps/sidecar/dist/main.js"]
