# Pulls. Arguments: registry, user; nothing where nobody has to log in. On standard input: the password. The login lives in
# a directory of its own, and as long as the pull.
if [ -n "$1" ]; then
  login=$(mktemp -d "$ours/login.XXXXXX") || stop 66 "the directory $directory cannot be written"
  trap 'rm -rf "$login"' EXIT
  trap 'exit 130' HUP INT TERM
  home=${DOCKER_CONFIG:-$HOME/.docker}
  if [ -d "$home/cli-plugins" ]; then ln -s "$home/cli-plugins" "$login/cli-plugins"; fi
  DOCKER_CONFIG=$(cd "$login" && pwd)
  export DOCKER_CONFIG
  docker login --username "$2" --password-stdin "$1" >/dev/null || stop 69 "$1 does not accept the login of registry-login"
fi
compose pull "$service" 2>&1
