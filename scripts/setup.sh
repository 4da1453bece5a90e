#!/bin/sh
# Installs what is missing to build and test shunt, and nothing that is there. A second run does nothing.
#   scripts/setup.sh           install
#   scripts/setup.sh --check   only say what is missing (exit 1 if anything is)
set -eu
cd "$(dirname "$0")/.."

# package:what it provides (a command, or a file)
PACKAGES='nftables:nft iproute2:ip nginx-light:nginx haproxy:haproxy wrk:wrk curl:curl iperf3:iperf3
tcpdump:tcpdump tmux:tmux zsh:zsh fish:fish ethtool:ethtool jq:jq binutils:strip ca-certificates:/etc/ssl/certs/ca-certificates.crt
clang:clang llvm:llvm-objdump libbpf-dev:/usr/include/bpf/bpf_helpers.h bpftool:bpftool'
PATH="$PATH:/usr/sbin:/sbin"
STAMP=node_modules/.shunt-lock

say() { echo "setup: $*" >&2; }
has() { case $1 in /*) [ -e "$1" ] ;; *) command -v "$1" >/dev/null 2>&1 ;; esac }

missing=
for entry in $PACKAGES; do
  has "${entry#*:}" || missing="$missing ${entry%%:*}"
done
has npm || missing="$missing nodejs npm"
stale=
# Contents, not times: a checkout changes times. A damaged tree without its node is stale too.
if ! cmp -s package-lock.json "$STAMP" || [ ! -x node_modules/.bin/node ]; then stale=yes; fi

if [ "${1-}" = --check ]; then
  [ -z "$missing" ] || say "missing packages:$missing"
  [ -z "$stale" ] || say "node_modules is missing or not of this package-lock.json"
  [ -z "$missing$stale" ]
  exit
fi

guard=/usr/sbin/policy-rc.d
guarded=
cleanup() { [ -z "$guarded" ] || rm -f "$guard"; }
trap cleanup EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

# Debian starts and enables a server that it installs. These are only wanted as tools: a guard keeps them from
# starting, and those that this run installed are disabled afterwards. What was installed before is not touched.
install_packages() {
  if [ ! -e "$guard" ]; then
    printf '#!/bin/sh\n# by shunt setup, removed when it ends\nexit 101\n' >"$guard"
    chmod 755 "$guard"
    guarded=yes
  fi
  export DEBIAN_FRONTEND=noninteractive
  apt-get update -qq
  # shellcheck disable=SC2086
  apt-get install -y -qq --no-install-recommends $missing >&2
  cleanup
  guarded=
  for pair in nginx-light:nginx haproxy:haproxy nftables:nftables; do
    case " $missing " in
      *" ${pair%%:*} "*)
        if has systemctl; then
          systemctl disable --quiet "${pair#*:}" >/dev/null 2>&1 || true
        elif has update-rc.d; then
          update-rc.d "${pair#*:}" disable >/dev/null 2>&1 || true
        fi
        say "${pair#*:} was installed as a tool: not started, not enabled"
        ;;
    esac
  done
}

if [ -n "$missing" ]; then
  if [ "$(id -u)" = 0 ] && has apt-get; then
    say "installing:$missing"
    install_packages
  else
    say "missing:$missing"
    say "install them as root (Debian: apt-get install$missing); lab tests that need them are skipped until then"
    has npm || exit 1
  fi
fi

if [ -n "$stale" ]; then
  say "installing npm packages (npm ci)"
  npm ci --no-audit --no-fund --loglevel=error >&2
  if [ ! -x node_modules/.bin/node ]; then
    say "npm did not install Node for this machine ($(uname -sm)); Linux on x64 and arm64 are supported"
    exit 1
  fi
  cp package-lock.json "$STAMP"
fi
