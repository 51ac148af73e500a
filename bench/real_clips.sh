#!/bin/sh
# The report on the four real recordings (bench/referee.py), with the referee's environment made where it is missing:
#
#   bench/real_clips.sh DATA OUTPUT [options of bench.referee]     e.g. --before out/real/report.json --show
#
# DATA holds the clips of bench/real_clips.json. The referee's environment is out/referee (or $REFEREE), its landmarks
# are in out/landmarks (or $LANDMARKS): found once, a quarter of an hour on one core; afterwards a report takes minutes.
set -e
if [ $# -lt 2 ]; then
  sed -n '2,8s/^# \{0,1\}//p' "$0"
  exit 2
fi
mkdir -p "$2"
data=$(realpath "$1") output=$(realpath "$2")
shift 2
cd "$(dirname "$0")/.."
referee=${REFEREE:-out/referee}
python=.venv/bin/python
[ -x $python ] || { echo "$python is missing: run 'make demo' first"; exit 1; }
if ! "$referee/bin/python" -c 'import mediapipe' 2>/dev/null; then
  echo "Making the referee's environment in $referee"
  $python -m venv "$referee"
  # Later ones have no models in the wheel. The headless OpenCV goes over its own, which wants a screen.
  "$referee/bin/pip" install --quiet --disable-pip-version-check mediapipe==0.10.21
  "$referee/bin/pip" install --quiet --disable-pip-version-check --force-reinstall --no-deps \
    'opencv-python-headless==4.11.0.86'
fi
exec $python -m bench.referee --data "$data" --output "$output" --referee "$referee/bin/python" \
  --cache "${LANDMARKS:-out/landmarks}" "$@"
