#!/bin/sh
# Stands in for Docker's command line on a host: it keeps what was pulled and what runs in files, and understands the
# calls that a deployment makes, with the words and exit codes of the real one. Others are refused.
#
# Each address of the SSH server is a host of its own below $DOCKER_HOSTS. Files there change what happens:
#   down         the engine does not answer        platform     what it says it is
#   full         the disk is full while pulling    private      pulling needs a login: "registry user password"
#   sick         images (their digests) whose containers are never healthy
#   slow         seconds that `up` takes           arm-only     no image fits this platform
set -eu
host=$(printf '%s' "${SSH_CONNECTION:-local local local}" | cut -d' ' -f3)
state=$DOCKER_HOSTS/$host
mkdir -p "$state/containers" "$state/pulled"
printf '%s\n' "$*" >>"$state/log"
fail() { printf '%s\n' "$1" >&2; exit "${2:-1}"; }

# The image of a service, from compose files, the later over the earlier, with the variables of the environment file.
image_of() { # service, environment file, compose files…
  service=$1 env_file=$2
  shift 2
  image=$(awk -v service="$service" '
    { line = $0; gsub(/"/, "", line) }
    line ~ "^  [^ ]+:" { name = line; sub(/^  /, "", name); sub(/:.*/, "", name) }
    name == service && line ~ /^    image:/ { sub(/^    image: */, "", line); image = line }
    END { print image }
  ' "$@")
  case $image in
    # shellcheck disable=SC2016 # it is looked for as it is
    *'${'*)
      variable=$(printf '%s' "$image" | sed 's/.*${\([A-Za-z_0-9]*\).*/\1/')
      value=$([ -z "$env_file" ] || sed -n "s/^$variable=//p" "$env_file" | tail -1 | tr -d "'\"")
      image=$value
      ;;
  esac
  [ -n "$image" ] || fail "no such service: $service" 1
  printf '%s\n' "$image"
}

pull() { # image
  [ ! -e "$state/full" ] || fail "failed to register layer: write /var/lib/docker: no space left on device"
  [ ! -e "$state/arm-only" ] || fail "no matching manifest for $(cat "$state/platform") in the manifest list entries"
  if [ -e "$state/private" ]; then
    grep -qs 'logged in' "${DOCKER_CONFIG:-$HOME/.docker}/config.json" ||
      fail "Error response from daemon: pull access denied for ${1%%@*}, repository does not exist or may require 'docker login'"
  fi
  : >"$state/pulled/$(printf '%s' "$1" | tr '/:@' '___')"
}

case $1 in
  version)
    [ ! -e "$state/down" ] || fail "Cannot connect to the Docker daemon at unix:///var/run/docker.sock. Is the docker daemon running?"
    cat "$state/platform" 2>/dev/null || echo linux/amd64
    ;;
  login)
    # login --username USER --password-stdin REGISTRY
    password=$(cat)
    [ ! -e "$state/private" ] || [ "$5 $3 $password" = "$(cat "$state/private")" ] ||
      fail "Error response from daemon: Get \"https://$5/v2/\": unauthorized: incorrect username or password"
    echo "logged in" >"${DOCKER_CONFIG:?}/config.json"
    echo "Login Succeeded"
    ;;
  inspect) # inspect --format {{.Image}} CONTAINER
    cat "$state/containers/${4#id-}" 2>/dev/null || fail "Error: No such object: $4"
    ;;
  image) # image inspect --format … IMAGE
    case $5 in *@*) printf '%s\n' "$5" ;; *) : ;; esac
    ;;
  compose)
    shift
    files='' project='' env_file=''
    if [ "$1" = version ]; then echo "Docker Compose version v2.29.1"; exit 0; fi
    while :; do
      case $1 in
        -f) files="$files $2"; shift 2 ;;
        -p) project=$2; shift 2 ;;
        --env-file) env_file=$2; shift 2 ;;
        *) break ;;
      esac
    done
    for file in $files; do [ -e "$file" ] || fail "open $PWD/$file: no such file or directory" 14; done
    [ -n "$env_file" ] || [ ! -e .env ] || env_file=.env
    [ -n "$project" ] || project=$(basename "$PWD")
    verb=$1
    shift
    for service; do :; done
    container=$project-$service-1
    case $verb in
      pull)
        # shellcheck disable=SC2086 # the files are words
        image=$(image_of "$service" "$env_file" $files)
        echo " $service Pulling" >&2
        pull "$image"
        echo " $service Pulled" >&2
        ;;
      up)
        # shellcheck disable=SC2086 # the files are words
        image=$(image_of "$service" "$env_file" $files)
        sleep "$(cat "$state/slow" 2>/dev/null || echo 0)"
        [ -e "$state/pulled/$(printf '%s' "$image" | tr '/:@' '___')" ] || pull "$image"
        printf '%s\n' "$image" >"$state/containers/$container.new"
        mv "$state/containers/$container.new" "$state/containers/$container"
        printf '%s %s\n' "$container" "$image" >>"$state/started"
        if [ -e "$state/sick" ] && grep -qF "${image##*@}" "$state/sick"; then
          fail "container $container is unhealthy"
        fi
        echo " Container $container  Healthy" >&2
        ;;
      ps) [ ! -e "$state/containers/$container" ] || echo "id-$container" ;;
      *) fail "docker compose $verb is not known here" 125 ;;
    esac
    ;;
  *) fail "docker $1 is not known here" 125 ;;
esac
