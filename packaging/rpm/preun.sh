# Before a removal, not an upgrade, the daemon hands its addresses over.
if [ "$1" -eq 0 ] && [ -d /run/systemd/system ]; then
    systemctl stop buoy.service 'buoy@*.service' buoy-web.service buoy-dns.service || :
    systemctl --no-reload disable buoy.service buoy-web.service buoy-dns.service >/dev/null 2>&1 || :
fi
