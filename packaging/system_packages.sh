#!/bin/sh
# What a bare Debian or Ubuntu lacks for the window, the tests and the environment. Says what it will install before it
# does, and installs only with the rights to; on other systems it only names what Qt needs.
set -eu

needed="python3-venv libgl1 libegl1 libfontconfig1 libglib2.0-0 libdbus-1-3 libxkbcommon0 libx11-6 libxkbcommon-x11-0
libxcb-cursor0 libxcb-icccm4 libxcb-keysyms1 libxcb-shape0 procps"
if [ "${1:-}" = tests ]; then
  needed="$needed poppler-utils"
fi

if ! command -v dpkg-query >/dev/null 2>&1; then
  if [ "$(uname -s)" = Linux ]; then
    echo "This system has no apt. If the window does not start, install Qt's libraries: libGL, EGL, fontconfig, glib, dbus, xkbcommon, xcb-cursor, xcb-icccm, xcb-keysyms, xcb-shape."
  fi
  exit 0
fi

missing=""
for package in $needed; do
  # Ubuntu 24.04 renamed some libraries with the ending t64
  if ! dpkg-query -W -f='${db:Status-Status}\n' "$package" "${package}t64" 2>/dev/null | grep -qx installed; then
    missing="$missing $package"
  fi
done
[ -n "$missing" ] || exit 0

if [ "$(id -u)" = 0 ]; then
  as_root=""
elif command -v sudo >/dev/null 2>&1 && sudo -n true 2>/dev/null; then
  as_root="sudo"
else
  echo "These system packages are missing:$missing" >&2
  echo "Install them as an administrator, then run make again:  apt-get install -y$missing" >&2
  exit 1
fi
echo "Installing the system packages that are missing:$missing"
$as_root env DEBIAN_FRONTEND=noninteractive apt-get -qq -o Dpkg::Use-Pty=0 update
$as_root env DEBIAN_FRONTEND=noninteractive apt-get -qq -o Dpkg::Use-Pty=0 install -y --no-install-recommends $missing >/dev/null
