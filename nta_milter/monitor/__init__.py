"""What a service tells about itself: log lines, counters, and answers on a control socket or over HTTP."""
