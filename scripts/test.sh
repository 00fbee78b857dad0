#!/usr/bin/env bash
# What `make test` runs: style, types, dependency rule, manifest, then the tests.
# Arguments go to pytest, so `scripts/test.sh tests/test_cli.py` runs one file after the checks.
# Installs nothing. Window tests run under Xvfb where it works and are skipped elsewhere;
# CYTODIFFUSION_REQUIRE_WINDOW=1 makes them fail instead of being skipped.
set -uo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.." || exit 1
bin=.venv/bin
if [ ! -x "$bin/python" ]; then
    echo "There is no environment in .venv yet: run 'make test', which makes it." >&2
    exit 1
fi

failed=()
check() {
    echo "== $*"
    "$bin/$1" "${@:2}" || failed+=("$*")
}
check ruff check .
check ruff format --check .
check mypy
check lint-imports
check python -m npe2 validate src/napari_cytodiffusion/napari.yaml

xvfb=(xvfb-run -a -s "-screen 0 1920x1200x24")
probe='from qtpy.QtWidgets import QApplication; QApplication([])'
screen=()
unset QT_QPA_PLATFORM
if ! command -v xvfb-run >/dev/null || ! command -v Xvfb >/dev/null; then
    echo "== window tests: skipped, Xvfb is not installed"
elif ! timeout 120 "${xvfb[@]}" "$bin/python" -c "$probe" >/dev/null 2>&1; then
    echo "== window tests: skipped, Qt does not start under Xvfb (a libxcb package may be missing)"
else
    screen=("${xvfb[@]}")
fi
if [ ${#screen[@]} -eq 0 ]; then
    export QT_QPA_PLATFORM=offscreen
fi

# One process a core, each with one thread: many threads on small arrays only wait for each other.
export OMP_NUM_THREADS="${OMP_NUM_THREADS:-1}"

echo "== pytest"
${screen[@]+"${screen[@]}"} "$bin/python" -m pytest --numprocesses auto --dist loadfile "$@"
status=$?
if [ ${#failed[@]} -gt 0 ]; then
    printf 'The tests ended as shown above, but this check failed: %s\n' "${failed[@]}" >&2
    [ "$status" -ne 0 ] || status=1
fi
exit "$status"
