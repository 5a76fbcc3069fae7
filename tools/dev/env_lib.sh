# Functions of the scripts that set up environments; sourced, with the repository as folder.
# A script sets `venv` (the environment's folder) and `key` (what it depends on) first.

py=$venv/bin/python
stamp=$venv/.complete
job=

up_to_date() { [ "$(cat "$stamp" 2>/dev/null)" = "$key" ]; }
say() { printf '[env] %s\n' "$*"; }
die() { printf '[env] error: %s\n' "$*" >&2; exit 1; }

# One set-up of a folder at a time; ends the script if another one has done the work.
begin() {
  up_to_date && exit 0
  command -v flock >/dev/null && exec 9>.env.lock && { flock -n 9 || { say 'waiting for another set-up of this folder'; flock 9; }; }
  up_to_date && exit 0
  export PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_INPUT=1
  export TMPDIR=$venv/tmp  # on the disk that has to hold the packages anyway; the usual one is often small
  trap '[ -z "$job" ] || kill -- -"$job" 2>/dev/null; rm -rf "$TMPDIR"' EXIT
  trap 'exit 130' INT
  trap 'exit 143' TERM
  rm -f "$stamp"
  rm -rf "$TMPDIR"
}

finish() {
  printf '%s\n' "$key" >"$stamp"
  say "ready after $SECONDS s: $py"
}

# Run a command with its output in a log; a line every 30 s; on failure the end of the log.
# Own process group: an interrupted set-up takes its compilers with it.
watched() {
  local name=$1 log=$venv/log/$1.log start=$SECONDS next=30 status=0
  shift
  set -m
  "$@" >"$log" 2>&1 </dev/null 9>&- &
  job=$!
  set +m
  while kill -0 "$job" 2>/dev/null; do
    sleep 0.5
    if ((SECONDS - start >= next)); then
      say "  $name: still running after $next s (log: $log)"
      next=$((next + 30))
    fi
  done
  wait "$job" || status=$?
  job=
  ((status == 0)) && return
  tail -n 40 "$log" >&2
  die "$name failed with status $status; above is the end of $log. Run the same command again to go on."
}

pip_install() {
  "$py" -m pip install --no-deps --retries 10 --timeout 60 --no-build-isolation "$@"
}

# A registry that drops a long download is asked again; what has come already is in pip's cache.
with_retries() { "$@" || "$@" || "$@"; }

# The pinned packages have wheels for these; a script may set `newest` lower before.
newest=${newest:-13}
runs_python() { "$1" -c "import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, $newest))" 2>/dev/null; }

find_python() {
  local candidate candidates='python3.11 python3.12 python3.13 python3'
  for candidate in ${PYTHON:-$candidates}; do
    if runs_python "$candidate"; then command -v "$candidate"; return; fi
  done
  die "no Python found that is at least 3.11 and at most 3.$newest (tried: ${PYTHON:-$candidates}); install one, or name it: PYTHON=/path/to/python3.11 make env"
}

make_venv() {
  if runs_python "$py" && grep -q "$venv" "$venv/bin/activate"; then
    say "keeping ${venv##*/}, bringing it up to date"
  else
    local base
    base=$(find_python)
    "$base" -c 'import ensurepip, venv' 2>/dev/null ||
      die "$base has no venv module; install it (Debian, Ubuntu: apt install python3-venv)"
    say "making ${venv##*/} with $("$base" --version)"
    "$base" -m venv --clear "$venv"
  fi
  mkdir -p "$venv/log" "$TMPDIR"
}

# require_space GB: say so before anything is fetched, instead of failing in the middle.
require_space() {
  local free
  free=$(df -Pk "$venv" | awk 'NR == 2 { print int($4 / 1e6) }')
  ((free >= $1)) || die "$1 GB of free disk are needed in $venv, there are $free; free some, or clone the repository to another disk"
}

check_compiler() {
  command -v "${CXX:-g++}" >/dev/null || die "no C++ compiler (${CXX:-g++}), which mmcv's operators need; install one (Debian, Ubuntu: apt install g++)"
  "$1" -c 'import os, sys, sysconfig; sys.exit(not os.path.exists(sysconfig.get_path("include") + "/Python.h"))' ||
    die "the headers of $1 (Python.h) are missing, which mmcv's operators need; install them (Debian, Ubuntu: apt install python3-dev)"
}

# Folder of the compiled wheel: it fits one Python, one PyTorch, one platform, with or without CUDA.
wheel_folder() {
  local cache=${MMQADAPTER_CACHE:-${HOME:-$venv}/.cache/mmqadapter}
  mkdir -p "$cache/wheels" 2>/dev/null && [ -w "$cache/wheels" ] || cache=$venv/cache
  "$1" - "$cache" <<'PY'
import os, sys, sysconfig, torch
cuda = torch.cuda.is_available() or os.environ.get('FORCE_CUDA') == '1'
python = 'py{}{}'.format(*sys.version_info[:2])
key = [python, 'torch' + torch.__version__.split('+')[0], sysconfig.get_platform(), 'cuda' if cuda else 'cpu']
print(os.path.join(sys.argv[1], 'wheels', '-'.join(key)))
PY
}

# compile_wheel BASE REQUIREMENT JOBS: with the PyTorch of the environment BASE.
# -g0: debug symbols double the time. CFLAGS replaces Python's own flags (-O3), hence their repetition.
# No pip cache: it may hold a wheel that was built without operators.
compile_wheel() {
  local flags
  flags="$("$1/bin/python" -c 'import sysconfig; print(sysconfig.get_config_var("CFLAGS"))') ${CFLAGS:-} -g0"
  PATH=$1/bin:$PATH CFLAGS=$flags MMCV_WITH_OPS=1 MAX_JOBS=$3 "$1/bin/python" -m pip wheel --no-deps \
    --no-build-isolation --no-cache-dir --retries 10 --timeout 60 -w "$TMPDIR/wheel" "$2"
}

# compiled_mmcv BASE NAME==VERSION: sets `wheel` to the compiled wheel, from the cache or made now.
# The wheel shows up in the cache complete or not at all.
compiled_mmcv() {
  local base=$1 requirement=$2 folder name jobs=${MAX_JOBS:-$(nproc)}
  folder=$(wheel_folder "$base/bin/python")
  name=${requirement/==/-}
  wheel=$(compgen -G "$folder/${name//onedl-mmcv/onedl_mmcv}-*.whl" | head -n 1) || true
  if [ -n "$wheel" ]; then
    say "installing $requirement from $wheel"
    return
  fi
  check_compiler "$base/bin/python"
  say "compiling $requirement with $jobs jobs: about $((16 / jobs + 1)) minutes, more with CUDA, once (log: $venv/log/mmcv.log)"
  watched mmcv compile_wheel "$base" "$requirement" "$jobs"
  wheel=$folder/$(basename "$TMPDIR"/wheel/*.whl)
  mkdir -p "$folder"
  cp "$TMPDIR"/wheel/*.whl "$folder/.partial.$$"
  mv "$folder/.partial.$$" "$wheel"
}

site_packages() { "$1" -c 'import sysconfig; print(sysconfig.get_path("purelib"))'; }

# above BASE: make `venv` an environment that sees the packages of the environment BASE behind its own.
above() {
  local site
  "$1/bin/python" -m venv --without-pip --clear "$venv"
  mkdir -p "$venv/log" "$TMPDIR"
  site=$(site_packages "$1/bin/python")
  printf 'import site; site.addsitedir(%s)\n' "'$site'" >"$(site_packages "$py")/base.pth"
}

# install_above BASE ARGUMENTS: install into `venv` with the pip of BASE.
install_above() { "$1/bin/python" -m pip --python "$py" install --no-deps --retries 10 --timeout 60 "${@:2}"; }

# overlay BASE NAME==VERSION: make `venv` the environment BASE with a compiled mmcv in front of its own.
overlay() {
  local base=$1 requirement=$2 wheel
  above "$base"
  compiled_mmcv "$base" "$requirement"
  # Not an upgrade: pip sees the copy of the base, which has to stay.
  watched mmcv-install install_above "$base" --no-index --ignore-installed "$wheel"
  "$py" -c 'import torch, mmcv._ext, sys; sys.exit(not mmcv._ext.__file__.startswith(sys.prefix))' ||
    die "mmcv was installed from $wheel, but its operators do not load; remove that file and run the same command again to compile anew"
}
