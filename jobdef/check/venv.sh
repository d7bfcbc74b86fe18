# Sourced with a directory: puts the pinned Python packages there, once, and sets `venv`. Ends the script, with 0, on a machine that
# cannot have them.
venv=$1/venv
if ! cmp -s jobdef/check/requirements.txt "$venv/installed.txt"; then
  python3 -c 'import ensurepip, venv' 2>/dev/null ||
    { [ "$(id -u)" = 0 ] && apt-get update -qq && apt-get install -y -qq --no-install-recommends python3 python3-venv; } >/dev/null 2>&1 ||
    { echo 'jobdef: skipped: needs python3 with venv' >&2; exit 0; }
  rm -rf "$venv"
  python3 -m venv "$venv"
  "$venv/bin/pip" install --quiet --disable-pip-version-check -r jobdef/check/requirements.txt ||
    { echo 'jobdef: skipped: the Python packages of jobdef/check/requirements.txt cannot be had' >&2; rm -rf "$venv"; exit 0; }
  cp jobdef/check/requirements.txt "$venv/installed.txt"
fi
