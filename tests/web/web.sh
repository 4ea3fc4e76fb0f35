#!/usr/bin/env bash
# Checks of the pages' JavaScript: web.sh install | check | test | format
#
# Where there is no node of a version that eslint runs on, or no package registry can be reached, it
# says so in one line and passes: nobody needs node to work on the rest. Findings fail.
set -euo pipefail
cd "$(dirname "$0")/../.."
web=tests/web
ready=$web/node_modules/.ready
scripts=('src/**/templates/js/**/*.js' "$web/*.js" "$web/*.mjs")
written=("${scripts[@]}" 'src/**/templates/*.css' "$web/*.json")

skip() {
  echo "the pages' JavaScript is not looked at: $1"
  exit 0
}

install() { # the exact versions of package-lock.json, once
  command -v node >/dev/null && command -v npm >/dev/null || skip "there is no node and npm here"
  if [ -e $ready ] && [ ! $web/package.json -nt $ready ] && [ ! $web/package-lock.json -nt $ready ]; then
    return
  fi
  local log
  if ! log=$(npm ci --prefix $web 2>&1); then
    case $log in
      *EBADENGINE*) skip "eslint does not run on node $(node --version)" ;;
      *ENOTFOUND* | *EAI_AGAIN* | *ECONNREFUSED* | *ECONNRESET* | *ENETUNREACH* | *EHOSTUNREACH* | *ETIMEDOUT* | *ERR_SOCKET_TIMEOUT* | *ENOTCACHED*)
        skip "no package registry can be reached" ;;
    esac
    echo "$log" >&2
    exit 1
  fi
  touch $ready
}

eslint() { $web/node_modules/.bin/eslint --config $web/eslint.config.js --no-error-on-unmatched-pattern "$@"; }
prettier() { $web/node_modules/.bin/prettier --config $web/prettier.json --no-error-on-unmatched-pattern --log-level warn "$@"; }

case ${1:-} in
  install) install ;;
  check)
    install
    eslint --max-warnings 0 "${scripts[@]}"
    prettier --check "${written[@]}"
    ;;
  test) # of what needs no browser; the rest is tests/summary/report
    install
    node --test --test-reporter=dot $web/*.test.mjs
    ;;
  format)
    install
    prettier --write "${written[@]}"
    ;;
  *)
    echo "web.sh install | check | test | format" >&2
    exit 2
    ;;
esac
