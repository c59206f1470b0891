#!/usr/bin/env bash
# Builds helm, helm-unittest and the loader of compose files, and installs the schemas of Kubernetes and hadolint, into the folder given.
# It wants Go, as new as go.mod in tools says, and Python. What Go has built it keeps in its own cache, for the next time.
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
cd "$here/tools"
export GOFLAGS='-buildvcs=false -mod=readonly'
go build -ldflags=-s -o "$target/bin/" helm.sh/helm/v3/cmd/helm github.com/helm-unittest/helm-unittest/cmd/helm-unittest
# What `docker compose config` is made of, without the engine's client around it.
go build -ldflags=-s -o "$target/bin/compose-config" github.com/compose-spec/compose-go/v2/cmd

python3 -m venv "$target/python"
"$target/python/bin/python" -m pip install --quiet --disable-pip-version-check --no-deps --only-binary :all: -r "$here/requirements.txt"
