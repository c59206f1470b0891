#!/usr/bin/env bash
# Builds helm, helm-unittest and docker compose, and installs the schemas of Kubernetes and hadolint, into the folder given.
# It wants Go, as new as the go.mod files in tools say, and Python. It takes some minutes; Go keeps what it has built, for the next time.
#
#   bash test/integration/deploy/install.sh .deploy-tools
#
# The tests look for them in .deploy-tools of the repository, or where DEPLOY_TOOLS_DIR says.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
mkdir -p "$1/bin"
target=$(cd "$1" && pwd)
PATH=$PATH:/usr/local/go/bin

if ! command -v go >/dev/null; then
  echo 'No Go is here: install one (go.dev/dl) and run this again.' >&2
  exit 1
fi
export GOFLAGS='-buildvcs=false -mod=readonly'
(cd "$here/tools/helm" && go build -ldflags=-s -o "$target/bin/" helm.sh/helm/v3/cmd/helm github.com/helm-unittest/helm-unittest/cmd/helm-unittest)
(cd "$here/tools/compose" && go build -ldflags=-s -o "$target/bin/docker-compose" github.com/docker/compose/v2/cmd)

python3 -m venv "$target/python"
"$target/python/bin/python" -m pip install --quiet --disable-pip-version-check --no-deps --only-binary :all: -r "$here/requirements.txt"
