# What the scripts for GPUs share; to be sourced with a build folder, or "" for the usual one, where $root
# and $out are set.  Builds for this machine's GPU unless this is a folder that was carried here.  Sets $scrawl,
# $tests and where CUDA's libraries lie.
# shellcheck shell=bash
if [[ -x $root/scrawl_tests ]]; then # a folder that was carried here
  export SCRAWL_BINARY=$root/scrawl SCRAWL_TEST_DIR=$root/tests
  tests=$root/scrawl_tests
else
  build=${1:-$root/build/cuda}
  if [[ -z $1 ]]; then
    (cd "$root" && cmake --preset cuda -DSCRAWL_CUDA_ARCHITECTURES=native && cmake --build --preset cuda) \
      >"$out/build.log" 2>&1 || { tail -n 20 "$out/build.log" >&2 && exit 1; }
  fi
  export SCRAWL_BINARY=$build/train/scrawl SCRAWL_TEST_DIR=$root/tests
  tests=$build/tests/scrawl_tests
fi
export tests scrawl=$SCRAWL_BINARY

# CUDA's libraries may lie where only Python looks for them.
for name in libcublasLt.so.13 libcudnn.so.9 libcupti.so.13; do
  ldconfig -p 2>/dev/null | grep -q "$name" || [[ -e /usr/local/cuda/lib64/$name ]] && continue
  found=$(find /usr/local /opt /usr/lib /root /home -name "$name" -print -quit 2>/dev/null)
  [[ -n $found ]] && export LD_LIBRARY_PATH=${LD_LIBRARY_PATH:+$LD_LIBRARY_PATH:}${found%/*}
done
PATH=$PATH:/usr/local/cuda/bin
