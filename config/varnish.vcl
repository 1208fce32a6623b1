# Varnish (6.0 or later) as an edge in front of Headwater.
#
#   varnishd -a :80 -f /etc/headwater/varnish.vcl -s malloc,4G -p pipe_timeout=90
#
# The lines marked CHANGE are yours. `cargo xtask test caches` runs this very file between a real server and 200 players.
#
# Varnish gathers equal requests by itself and wakes all who wait at once, so there is little to say. What is still on its way from the origin
# it sends on to everybody as it comes: a segment of low-latency DASH is asked for once, however many watch it grow.
#
# Continuous outputs are piped, for as long as nothing is silent for pipe_timeout: more than publish.grace of Headwater (60 s there), in which
# viewers stay and nothing comes.

vcl 4.1;

import std;

backend headwater {
    .host = "127.0.0.1"; # CHANGE
    .port = "8080"; # CHANGE
    # Longer than Headwater holds anything: 3 target durations of at most 10 s, 6 s as a rule.
    .first_byte_timeout = 35s;
    .between_bytes_timeout = 10s;
    # Each playlist and part that anybody waits for takes a connection. To Headwater all viewers are one address:
    # http.max_held_requests_per_address there is for the renditions that are watched here, two of each (playlist and part).
    # Varnish lets idle ones go after 60 s (backend_idle_timeout), Headwater after 75 s.
    # Each viewer of a continuous output takes one as well.
    .max_connections = 2000;
    # Whether the origin is there.
    .probe = {
        .url = "/time";
        .interval = 2s;
        .timeout = 2s;
        .window = 3;
        .threshold = 2;
        .initial = 2;
    }
}

sub vcl_recv {
    # What has no end: continuous outputs (/live/cam.flv, .ts, .mp4; FLV over WebSocket), and what the page is told. Passed on as it
    # comes, kept nowhere, and read no faster than the viewer reads.
    if (req.url ~ "^((/t/[^/?]+)?/[^/?]+(/[^/?]+)?/[^/?]+\.(flv|ts|mp4)|/api/v1/live/events)(\?.*)?$") {
        set req.url = regsub(req.url, "\?.*$", "");
        return (pipe);
    }
    # All of a query that makes another answer: the directives of Low-Latency HLS, in one order. Tokens, sessions and CMCD are the
    # same object for everybody, and Headwater needs to see none of them.
    if (req.url ~ "\?") {
        set req.http.X-Query = "";
        if (req.url ~ "[?&]_HLS_msn=") {
            set req.http.X-Query = req.http.X-Query + "&_HLS_msn=" + regsub(req.url, "^.*[?&]_HLS_msn=([^&]*).*$", "\1");
        }
        if (req.url ~ "[?&]_HLS_part=") {
            set req.http.X-Query = req.http.X-Query + "&_HLS_part=" + regsub(req.url, "^.*[?&]_HLS_part=([^&]*).*$", "\1");
        }
        if (req.url ~ "[?&]_HLS_skip=") {
            set req.http.X-Query = req.http.X-Query + "&_HLS_skip=" + regsub(req.url, "^.*[?&]_HLS_skip=([^&]*).*$", "\1");
        }
        set req.url = regsub(req.url, "\?.*$", "") + regsub(req.http.X-Query, "^&", "?");
        unset req.http.X-Query;
    }
    # Cookies mean nothing here, and Varnish would cache nothing for who sends them.
    unset req.http.Cookie;
    # While the origin restarts, playlists stand still instead of failing; else what is over is asked for again before anybody is shown it:
    # a playlist from ten seconds ago (Varnish's own grace) lists what players have behind them.
    if (std.healthy(req.backend_hint)) {
        set req.grace = 0s;
    }
}

sub vcl_pipe {
    if (req.http.Upgrade) {
        set bereq.http.Upgrade = req.http.Upgrade;
        set bereq.http.Connection = "upgrade";
    } else {
        # Nothing behind this answer: a second request in the same pipe would be seen by nobody here.
        set bereq.http.Connection = "close";
    }
}

sub vcl_backend_fetch {
    # The next segments of a publisher that is away are held for a minute, for players of low-latency DASH.
    if (bereq.url ~ "\.m4s$") {
        set bereq.first_byte_timeout = 65s;
    }
}

sub vcl_backend_response {
    set beresp.grace = 60s;
    if (beresp.http.Cache-Control ~ "no-store") {
        set beresp.grace = 0s;
        set beresp.ttl = 1s;
        # A hold that ended in vain: everybody who waited for the same thing hears so now, instead of waiting once more.
        if (beresp.status == 503) {
            return (deliver);
        }
        # Others are for one client, and the next one with this URL may be for everybody again; Varnish would let all through for
        # two minutes.
        set beresp.uncacheable = true;
        return (deliver);
    }
}
