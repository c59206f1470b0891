#!/usr/bin/env bash
# Installs the executable consensus specification into the folder given, some 90 MB, with the newest Python of 3.12 or later found here.
#
#   bash test/integration/consensus-spec/install.sh .consensus-spec
#
# The tests look for it in .consensus-spec of the repository, or where CONSENSUS_SPEC_DIR says.
set -euo pipefail
target=$1
here=$(cd "$(dirname "$0")" && pwd)

is_new_enough() { "$1" -c 'import sys, venv; sys.exit(sys.version_info < (3, 12))' 2>/dev/null; }

for python in python3.14 python3.13 python3.12 python3 python "$HOME"/.pyenv/versions/3.1[2-9]*/bin/python; do
  if is_new_enough "$python"; then
    "$python" -m venv "$target"
    "$target/bin/python" -m pip install --quiet --disable-pip-version-check --no-deps --only-binary :all: -r "$here/requirements.txt"
    exit 0
  fi
done
echo 'No Python of 3.12 or later is here: install one (python3.12, python3.12-venv) and run this again.' >&2
exit 1
