systemd-sysusers buoy.conf
systemd-tmpfiles --create buoy.conf || :
# Checks of type haproxy use its stats socket, which may be given to this group.
if getent group haproxy >/dev/null && command -v usermod >/dev/null; then
    usermod --append --groups haproxy buoy || :
fi
if [ -d /run/systemd/system ]; then
    systemctl --system daemon-reload >/dev/null || :
    # $1 is how many versions are installed: 2 in an upgrade.
    if [ "$1" -gt 1 ]; then
        /usr/libexec/buoy/after-upgrade
    fi
fi
