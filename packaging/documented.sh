# Sourced by packaging/test: does on its hosts what the documents say, word by word. The table in
# tests/documents.rs says which block of commands runs here.

# The NUMBERth block of shell commands of a document.
block() { # DOCUMENT NUMBER
    awk -v wanted="$2" '
        /^```sh$/ { inside = ++number == wanted; next }
        /^```/ { inside = 0 }
        inside' "$1" | grep . || fail "$1 has no block $2 of shell commands"
}

# What a document says, typed on a host by root: `sudo` is not there.
type_block() { # HOST DOCUMENT NUMBER
    local lines
    lines=$(block "$2" "$3")
    on "$1" bash -euc "cd /root; sudo() { \"\$@\"; }; $lines" >"$work/typed.log" 2>&1 </dev/null || {
        cat "$work/typed.log" >&2
        fail "$2, block $3, on $1"
    }
}

# A command `scp` that puts files where the arguments say, below a directory instead of on a host.
make_scp() { # FILE DIRECTORY
    cat >"$1" <<EOF
#!/bin/bash
set -eu
options=()
while [[ \$1 == -* ]]; do options+=("\$1"); shift; done
target=\${!#} to=$2/\$(cut -d @ -f 2 <<<"\${!#}" | tr -d :)
mkdir -p "\${to%/*}"
cp "\${options[@]}" "\${@:1:\$#-1}" "\$to"
EOF
    chmod 755 "$1"
}

# docs/installation.md without a package, from the copies to the removal.
installed_by_hand() {
    say 'docs/installation.md, without a package'
    local host began copies hand=$work/hand
    copies=$(block docs/installation.md 2)
    # The build is that of .ci/run; here the packed executable is in its place.
    mkdir -p "$hand/bin" "$hand/target/release"
    cp target/package/buoy "$hand/target/release/"
    ln -s "$PWD/packaging" "$hand/packaging"
    printf '#!/bin/sh\n' >"$hand/bin/cargo"
    chmod 755 "$hand/bin/cargo"
    make_scp "$hand/bin/scp" "$work"
    (cd "$hand" && PATH="$hand/bin:$PATH" bash -euc "$copies")
    began=$SECONDS
    for host in lb1 lb2; do type_block "$host" docs/installation.md 3; done
    mkdir -p "$work/lb1/sent"
    make_scp "$work/lb1/usr/bin/scp" /sent
    type_block lb1 docs/installation.md 4
    rm "$work/lb1/usr/bin/scp"
    cp -p "$work"/lb1/sent/lb2/etc/buoy/* "$work/lb2/etc/buoy/"
    for host in lb1 lb2; do type_block "$host" docs/installation.md 5; done
    [[ $(on lb1 stat -c '%a %U' /etc/buoy/cluster.key) == '600 buoy' ]] || fail 'mode of the key'
    until_true 60 'both nodes are active' both_active
    until_true 30 'it answers' ip netns exec "$tag-client" ping -q -c 1 -W 1 "$VIP"
    printf 'the address answers %d s after the first command on a host\n' "$((SECONDS - began))"
    type_block lb1 docs/installation.md 6
    [[ $(on lb1 cat /proc/sys/net/ipv4/ip_nonlocal_bind) == 1 ]] || fail 'ip_nonlocal_bind'
    for host in lb2 lb1; do type_block "$host" docs/installation.md 7; done
    for host in lb1 lb2; do
        until_true 15 "no process and no table is left on $host" clean "$host"
        rm -rf "$work/$host"/etc/buoy "$work/$host"/var/lib/buoy "$work/$host"/sent
        for group in buoy buoy-observe haproxy; do
            on "$host" sh -c "userdel $group 2>/dev/null; groupdel $group 2>/dev/null; true"
        done
    done
}

# The line of a document that installs the package, where the build would have left it.
install_as_documented() { # HOST DOCUMENT NUMBER
    local line
    line=$(block "$2" "$3" | grep 'apt install')
    mkdir -p "$work/$1/root/target"
    ln -sfn /packages "$work/$1/root/target/packages"
    on "$1" bash -euc "cd /root; sudo() { \"\$@\"; }; $line" >"$work/apt.log" 2>&1 </dev/null || {
        cat "$work/apt.log" >&2
        fail "$line: it cannot be installed on $1"
    }
}

get() { # HOST PATH; what buoy-web.service answers there
    # shellcheck disable=SC2016 # expanded by the inner shell
    on "$1" timeout 5 bash -c 'exec 3<>/dev/tcp/127.0.0.1/4749
        printf "GET %s HTTP/1.0\r\nHost: localhost\r\n\r\n" "$1" >&3; cat <&3' bash "$2"
}

served() { # HOST PATH TEXT
    # Not -q, with which grep ends first and the answer has nowhere to go.
    get "$1" "$2" | grep -- "$3" >/dev/null
}

answers() { # HOST PATH CODE
    get "$1" "$2" | grep "^HTTP/1.[01] $3 " >/dev/null
}

journal_has() { # HOST WORDS; of the web unit
    on "$1" journalctl --no-pager -u buoy-web | grep -- "$2" >/dev/null
}

# docs/monitoring.md: the page and the metrics, and what they say without the daemon.
page() {
    say 'the page and the metrics'
    local host
    for host in lb1 lb2; do
        type_block "$host" docs/monitoring.md 1
        until_true 30 'it is confined' journal_has "$host" 'confined by Landlock'
        ! journal_has "$host" 'cannot be dropped' || fail 'buoy-web warns of capabilities'
        until_true 30 "the metrics of $host" served "$host" /metrics '^buoy_up 1'
    done
    host=$(owner)
    until_true 10 'the owner says so' served "$host" /metrics "^buoy_group_owned{.*\"$VIP\".*} 1"
    served "$host" / "$VIP" || fail 'the page does not show the address'
    answers "$host" "/ready?group=$VIP" 200 || fail '/ready of the owner'
    on "$host" systemctl stop buoy
    until_true 30 'buoy_up 0' served "$host" /metrics '^buoy_up 0'
    answers "$host" /healthz 503 || fail '/healthz without a daemon'
    on "$host" systemctl start buoy
    until_true 60 'both nodes are active' both_active
    for host in lb1 lb2; do on "$host" systemctl disable --now --quiet buoy-web; done
}

# HAProxy of Debian, from the archives that make_root has put there: the hosts have no network.
install_haproxy() { # HOST
    on "$1" apt-get install -y --no-install-recommends haproxy >"$work/apt.log" 2>&1 || {
        cat "$work/apt.log" >&2
        fail "haproxy cannot be installed on $1"
    }
    # docs/operations.md, "Upgrades without a failed request".
    : >"$work/$1/etc/haproxy/draining.lst"
    cat >>"$work/$1/etc/haproxy/haproxy.cfg" <<'EOF'
frontend www
    bind :80
    http-request return status 200
    http-after-response set-header Connection close if { dst -f /etc/haproxy/draining.lst }
EOF
    on "$1" systemctl restart haproxy
}

passes() { # HOST
    status "$1" | grep -q '"check":"proxy","type":"haproxy","state":"passing"'
}

owned_by() { # HOST
    [[ $(owner) == "$1" ]]
}

# HAProxy's socket belongs to the group haproxy, the daemon runs as the user buoy. lb2 had HAProxy
# before buoy; lb1 gets it now, while the daemon runs, which is not restarted.
haproxy_socket() {
    say 'the user buoy and the socket of HAProxy'
    local host other before process
    started '' availability '[haproxy]
socket = "/run/haproxy/admin.sock"
draining_list = "/etc/haproxy/draining.lst"
[[check]]
name = "proxy"
type = "haproxy"
socket = "/run/haproxy/admin.sock"
frontends = ["www"]
interval = "100ms"
fall = 2
pools = ["web"]'
    until_true 30 'the check of lb2 passes' passes lb2
    before=$(daemon lb1)
    install_haproxy lb1
    until_true 30 'the check of lb1 passes' passes lb1
    [[ $(daemon lb1) == "$before" ]] || fail 'the daemon of lb1 was restarted'
    for host in lb1 lb2; do
        process=$(daemon "$host")
        [[ $(on "$host" stat -c %U "/proc/$process") == buoy ]] || fail 'the user of the daemon'
        [[ $(on "$host" stat -c '%a %G' /run/haproxy/admin.sock) == '660 haproxy' ]] ||
            fail "the socket: $(on "$host" stat -c '%a %U %G' /run/haproxy/admin.sock)"
    done
    host=$(owner) other=lb1
    [[ $host == lb1 ]] && other=lb2
    on "$host" systemctl stop haproxy
    until_true 30 'the address leaves a host without HAProxy' owned_by "$other"
    on "$host" systemctl start haproxy
    until_true 30 "the check of $host passes again" passes "$host"
    echo "$host without HAProxy: the address went to $other"
    for host in lb1 lb2; do on "$host" systemctl disable --now --quiet haproxy; done
}

# docs/operations.md: the journal, and a change of lb1 ordered at lb2.
orders() {
    say 'orders of docs/operations.md'
    started '' availability
    type_block lb1 docs/operations.md 1
    holds "$VIP" "$work/typed.log"
    type_block lb2 docs/operations.md 2
    holds 'lb1 is ready' "$work/typed.log"
}
