systemd-sysusers buoy.conf
systemd-tmpfiles --create buoy.conf || :
if [ -d /run/systemd/system ]; then
    systemctl --system daemon-reload >/dev/null || :
    # $1 is how many versions are installed: 2 in an upgrade.
    if [ "$1" -gt 1 ]; then
        /usr/libexec/buoy/after-upgrade
    fi
fi
