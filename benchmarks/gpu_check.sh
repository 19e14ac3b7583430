#!/usr/bin/env bash
# Everything that needs a GPU, in one call of less than ten minutes and without network: build for the card that is there,
# CUDA tests with skipping forbidden, compute-sanitizer on small shapes, benchmarks, report.
#
#   benchmarks/gpu_check.sh [--dry-run] [--out DIR]
#
# --out DIR: the JSON result and the log also go there. --dry-run: say what would run, with limits, and which tools are
# there. Environment: PYTHON (python3: 3.11 or newer with torch for CUDA), CHORDFAST_WHEELS (folder of wheels that are
# missing on the machine; unpacked to a temporary place), CHORDFAST_CUDA_ARCHS (the card's own unless set).
#
# Exit code: 0 all well, 1 a phase failed (the others ran all the same), 2 wrong use, 3 no CUDA device.
set -uo pipefail

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
python=${PYTHON:-python3}
dry=0 out=
while [ $# -gt 0 ]; do
  case $1 in
    --dry-run) dry=1 ;;
    --out) [ $# -ge 2 ] || { echo "gpu_check: --out needs a folder" >&2; exit 2; }; out=$2; shift ;;
    *) echo "gpu_check: unknown argument $1; use --dry-run or --out DIR" >&2; exit 2 ;;
  esac
  shift
done
cd "$root" || exit 1
python=$(command -v "$python") || { echo "gpu_check: ${PYTHON:-python3} not found; set PYTHON" >&2; exit 2; }
case $python in /*) ;; *) python=$root/$python ;; esac

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
export PYTHONPATH="$root${PYTHONPATH:+:$PYTHONPATH}" PYTHONUNBUFFERED=1
log=$work/gpu_check.log
failed=() ran=() begun=$SECONDS

say() { echo "== $*" | tee -a "$log"; }

# phase NAME SECONDS COMMAND...: runs it with that limit, or less where the ten minutes are nearly over; notes a failure.
phase() {
  local name=$1 limit=$2 rc=0 start=$SECONDS left=$((580 - SECONDS + begun))
  shift 2
  if [ $dry = 1 ]; then
    printf '%-28s %4ss  %s\n' "$name" "$limit" "$*"
    return 0
  fi
  [ "$left" -lt "$limit" ] && limit=$left
  if [ "$limit" -lt 5 ]; then
    say "$name: no time left"
    failed+=("$name (no time left)")
    return 1
  fi
  say "$name (at most ${limit}s): $*"
  timeout --kill-after=5 "$limit" "$@" 2>&1 | tee -a "$log"
  rc=${PIPESTATUS[0]}
  ran+=("$name $((SECONDS - start))s")
  if [ "$rc" -ne 0 ]; then
    [ "$rc" = 124 ] && say "$name: stopped after ${limit}s" || say "$name: exit code $rc"
    failed+=("$name ($rc)")
  fi
  return "$rc"
}

# Wheels are unpacked beside, never into, the machine's own packages.
if [ -n "${CHORDFAST_WHEELS:-}" ]; then
  [ -d "$CHORDFAST_WHEELS" ] || { echo "gpu_check: CHORDFAST_WHEELS=$CHORDFAST_WHEELS is no folder" >&2; exit 2; }
  phase "unpack wheels" 60 "$python" -m pip install --quiet --no-index --no-deps --no-compile --no-cache-dir \
    --target "$work/site" "$CHORDFAST_WHEELS"/*.whl
  export PYTHONPATH="$PYTHONPATH:$work/site"
fi

capability=$("$python" -c 'import torch
if torch.cuda.is_available():
    print("%d%d" % torch.cuda.get_device_capability())' 2>/dev/null)
if [ -z "$capability" ] && [ $dry = 0 ]; then
  "$python" -c 'import torch' 2>/dev/null || { echo "gpu_check: $python has no torch; set PYTHON to one that has" >&2; exit 2; }
  echo "gpu_check: no CUDA device found (torch.cuda.is_available() is false); nothing was run" >&2
  exit 3
fi

# CMake's package of pybind11; where only the headers in torch's own include folder are, a stand-in for it.
pybind=$("$python" -c 'import pybind11; print(pybind11.get_cmake_dir())' 2>/dev/null)
if [ -z "$pybind" ]; then
  pybind=$work/pybind11
  mkdir -p "$pybind"
  include=$("$python" -c 'import pathlib, torch; print(pathlib.Path(torch.__file__).parent / "include")' 2>/dev/null)
  [ -e "$include/pybind11/pybind11.h" ] || { echo "gpu_check: no pybind11, and none with torch" >&2; exit 2; }
  mkdir -p "$work/include" && ln -s "$include/pybind11" "$work/include/pybind11"  # no other header of torch
  cat >"$pybind/pybind11Config.cmake" <<CMAKE
function(pybind11_add_module name)
  list(REMOVE_ITEM ARGN NO_EXTRAS)
  Python_add_library(\${name} MODULE WITH_SOABI \${ARGN})
  target_include_directories(\${name} SYSTEM PRIVATE "$work/include")
  set_target_properties(\${name} PROPERTIES CXX_VISIBILITY_PRESET hidden)
endfunction()
CMAKE
  say "pybind11 from $include"
fi

# Kept between calls; never the folder of an ordinary build, whose settings differ.
build=$root/build/gpu-$("$python" -c 'import sys; print("cp%d%d" % sys.version_info[:2])')
archs=${CHORDFAST_CUDA_ARCHS:-${capability:-90}-real}
phase "configure" 30 cmake -S "$root" -B "$build" -G Ninja -DCMAKE_BUILD_TYPE=Release \
  -DCMAKE_LIBRARY_OUTPUT_DIRECTORY="$root/chordfast" -DPython_EXECUTABLE="$python" \
  -Dpybind11_DIR="$pybind" -DCHORDFAST_CUDA=ON -DCHORDFAST_SIMT=OFF -DCHORDFAST_CUDA_ARCHS="$archs" &&
  phase "build" 150 cmake --build "$build"
built=$?

if [ $built = 0 ]; then
  mapfile -t tests < <(grep -rl --include='test_*.py' -E '\b(needs_cuda|backends)\b' tests)
  phase "CUDA tests" 110 env CHORDFAST_FAIL_WITHOUT_CUDA=1 "$python" -m pytest -m cuda --durations=5 \
    --continue-on-collection-errors "${tests[@]}"
  phase "benchmarks" 140 "$python" benchmarks/gpu_bench.py --deadline 100 --out "$work/results"
  if [ -d "$work/results" ]; then
    mkdir -p benchmarks/results && cp -r "$work/results/." benchmarks/results/
  fi
  phase "report" 15 "$python" benchmarks/report.py
  sanitizer=$(command -v compute-sanitizer || ls /usr/local/cuda/bin/compute-sanitizer 2>/dev/null)
  if [ -z "$sanitizer" ] && [ $dry = 0 ]; then
    say "compute-sanitizer: not found on PATH or in /usr/local/cuda/bin"
    failed+=("compute-sanitizer (not found)")
  else
    for tool in memcheck racecheck synccheck initcheck; do
      # Our kernels alone; every allocation its own, so that running past its end is seen.
      phase "$tool" 33 env PYTORCH_NO_CUDA_MEMORY_CACHING=1 "${sanitizer:-compute-sanitizer}" --tool "$tool" \
        --kernel-name kernel_substring=chordfast --error-exitcode 9 \
        "$python" benchmarks/gpu_bench.py --small
    done
  fi
fi

[ $dry = 1 ] && { echo "nvcc: $(command -v nvcc || echo missing), cmake: $(command -v cmake || echo missing), ninja:" \
  "$(command -v ninja || echo missing), compute-sanitizer: ${sanitizer:-missing}, GPU: ${capability:-none}"; exit 0; }
say "took $((SECONDS - begun))s: ${ran[*]}"
if [ ${#failed[@]} -gt 0 ]; then
  printf '%s\n' "${failed[@]}" | sed 's/^/gpu_check: failed: /' | tee -a "$log" >&2
fi
if [ -n "$out" ]; then
  mkdir -p "$out" && cp "$log" "$out/" && find "$work/results" -name '*.json' -exec cp {} "$out/" \; 2>/dev/null
fi
[ ${#failed[@]} -eq 0 ]
