# Run on the host before every other script: the place, the lock, and the fence.
# Arguments: directory, lock ("lock" or "look"), environment, fencing token; the rest belongs to the script.
set -eu
umask 077
directory=$1 lock=$2 environment=$3 fence=$4
shift 4
stop() { # exit code, what is wrong
  printf 'tidegate: %s\n' "$2" >&2
  exit "$1"
}
cd "$directory" 2>/dev/null || stop 64 "the directory $directory is not there"
ours=.tidegate
if [ "$lock" = lock ]; then
  mkdir -p "$ours" 2>/dev/null || stop 66 "the directory $directory cannot be written"
  exec 9>"$ours/lock"
  flock -w 60 9 || stop 75 "another deployment is at work in $directory"
  known=$(cat "$ours/fence-$environment" 2>/dev/null || echo 0)
  [ "$fence" -ge "$known" ] || stop 76 "a later run has taken this host: its token is $known, ours is $fence"
  printf '%s\n' "$fence" >"$ours/fence.new" || stop 66 "the directory $directory cannot be written"
  mv "$ours/fence.new" "$ours/fence-$environment"
fi
